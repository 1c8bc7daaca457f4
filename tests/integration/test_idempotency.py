"""Real Slurm, broken connections, killed processes -> as many jobs as there are keys, whoever retries how often."""

import http.client
import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import Any

import pytest

from gateway.stages.idempotency import FIRST_WITH_EXTRA
from lab.gateway import Answer, GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.processes import LabError
from lab.slurm import SlurmRelease
from lab.submission import submission
from tests.integration.breaking import Break, Breaking
from tests.integration.crowd import eventually

StartGateway = Callable[..., GatewayProcess]
SETTLE_SECONDS = 3.0
SUBMITTERS = 6
_NAMES_AT_ONCE = 200
PATIENCE_SECONDS = 120.0
OLD_AND_NEW = pytest.mark.parametrize(
    "slurm_release", [pytest.param("bookworm", marks=pytest.mark.long), "sid"], indirect=True
)


class Site:
    """A gateway with a relay that breaks between it and slurmrestd."""

    def __init__(
        self, release: SlurmRelease, start: StartGateway, provider: IdentityProvider, settle: float
    ) -> None:
        self.release = release
        self.breaking = Breaking(release.ports["slurmrestd"])
        self.gateway = start(
            release,
            {
                "forward": {"upstream": self.breaking.url},
                "idempotency": {"settle_seconds": settle, "wait_seconds": 2 * settle + 5},
            },
        )
        self.version = release.api_versions[0]
        self._token = provider.token_for("alice")
        self._names: set[str] = set()

    def body(self, name: str, **job: Any) -> bytes:
        self._names.add(name)
        return json.dumps(
            submission(self.version, "#!/bin/sh\ntrue\n", name=name, hold=True, **job)
        ).encode()

    def send(self, key: str, body: bytes) -> Answer:
        target = f"/slurm/{self.version}/job/submit"
        headers = {"Idempotency-Key": f'"{key}"'}
        return self.gateway.ask("POST", target, self._token, body, headers)

    def retry(self, key: str, body: bytes) -> Answer:
        """As a client does it: until there is an answer that says what became of the job."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with suppress(OSError, http.client.HTTPException):
                answer = self.send(key, body)
                if answer.status == 200:
                    return answer
                assert answer.status in (409, 500, 502, 503, 504), answer.body
                assert "Retry-After" in answer.headers or answer.status != 409, answer.body
            time.sleep(0.3)
        raise AssertionError(f"{key} was never answered")

    def jobs(self) -> dict[str, list[dict[str, Any]]]:
        """All jobs by name, as slurmrestd lists them to alice."""
        _, raw = self.release.request("alice", "GET", f"/slurm/{self.version}/jobs")
        found: dict[str, list[dict[str, Any]]] = {}
        for job in json.loads(raw)["jobs"]:
            found.setdefault(job["name"], []).append(job)
        return found

    def counts(self, prefix: str) -> Counter[str]:
        """How many jobs there are of each name, as Slurm's own command sees them."""
        listed = Counter(self.release.run("squeue", "-h", "-o", "%j").split())
        return Counter({name: count for name, count in listed.items() if name.startswith(prefix)})

    def cancel(self) -> None:
        """Its own jobs, because others share the release."""
        names = sorted(self._names)
        for first in range(0, len(names), _NAMES_AT_ONCE):
            some = ",".join(names[first : first + _NAMES_AT_ONCE])
            with suppress(LabError):  # there may be none any more
                self.release.run("scancel", "--user=alice", f"--name={some}")

    def note_of(self, answer: Answer) -> str:
        record = self.gateway.audit_record(answer.headers["X-Request-Id"])
        assert record["job_ids"] == [str(answer.json()["job_id"])]
        return str(record["note"])

    def kill_gateway(self) -> None:
        """As the kernel does when memory is short; and up again."""
        pid = self.gateway.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.gateway.stop()
        self.gateway.start()


@pytest.fixture
def site(
    request: pytest.FixtureRequest,
    slurm_release: SlurmRelease,
    gateway: StartGateway,
    identity_provider: IdentityProvider,
) -> Iterator[Site]:
    marker = request.node.get_closest_marker("settle")
    settle = marker.args[0] if marker else SETTLE_SECONDS
    made = Site(slurm_release, gateway, identity_provider, settle)
    yield made
    made.breaking.close()
    slurm_release.up()
    made.cancel()


def replayed(answer: Answer) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def test_a_retry_gets_the_same_answer_and_the_audit_names_the_first(site: Site) -> None:
    name = f"k{uuid.uuid4().hex}"
    body = site.body(name, comment="mine")
    first, second = site.send(name, body), site.send(name, body)
    assert (first.status, first.body) == (second.status, second.body)
    assert (replayed(first), replayed(second)) == (False, True)
    assert first.headers["Content-Type"] == second.headers["Content-Type"]
    assert site.note_of(first).startswith("marked idempotency:")
    assert site.note_of(second) == f"replayed, first request {first.headers['X-Request-Id']}"
    ((job,),) = [site.jobs()[name]]
    assert job["comment"].startswith("mine idempotency:")
    other = site.send(name, site.body(name, comment="other"))
    assert (other.status, other.json()["code"]) == (422, "idempotency-key-reused")
    assert site.counts(name)[name] == 1


def shapes(site: Site, name: str) -> dict[str, bytes]:
    """One job, an array of jobs, a heterogeneous job."""
    whole = json.loads(site.body(name))
    het = {"script": whole["script"], "jobs": [whole["job"], dict(whole["job"])]}
    return {
        "one": site.body(name),
        "array": site.body(name, array="1-3"),
        "heterogeneous": json.dumps(het).encode(),
    }


@pytest.mark.parametrize("shape", ["one", "array", "heterogeneous"])
def test_a_lost_job_is_found_by_its_marker_on_every_release(site: Site, shape: str) -> None:
    name = f"k{uuid.uuid4().hex}"
    body = shapes(site, name)[shape]
    site.breaking.breaks.append(Break.AFTER)
    lost = site.send(name, body)
    assert (lost.status, lost.json()["outcome"]) == (502, "unknown")
    eventually(lambda: site.jobs().get(name))
    found = site.send(name, body)
    assert (found.status, replayed(found)) == (200, True), found.body
    ids = {number_of(job) for job in site.jobs()[name]}
    assert ids == {found.json()["job_id"]}
    assert "found as job" in site.note_of(found)
    assert site.send(name, body).body == found.body
    listed = len(site.jobs()[name])
    assert listed == {"one": 1, "array": 1, "heterogeneous": 2}[shape]
    direct = site.send(f"{name}-2", body)
    assert set(direct.json()) - {"meta", "job_submit_user_msg"} <= set(found.json())
    assert type(direct.json()["job_id"]) is type(found.json()["job_id"])


def number_of(job: dict[str, Any]) -> int:
    """The id that a submission is answered with."""
    for name in ("array_job_id", "het_job_id", "job_id"):
        value = job[name]
        number = value["number"] if isinstance(value, dict) else value
        if number:
            return int(number)
    raise AssertionError(job)


def test_the_marker_can_stand_in_extra_where_slurm_has_it(site: Site) -> None:
    name = f"k{uuid.uuid4().hex}"
    site.gateway.stop()
    site.gateway.settings["idempotency"]["marker_field"] = "extra"
    site.gateway.start()
    body = site.body(name, comment="mine")
    site.breaking.breaks.append(Break.AFTER)
    assert site.send(name, body).status == 502
    eventually(lambda: site.jobs().get(name))
    assert replayed(site.send(name, body))
    ((job,),) = [site.jobs()[name]]
    has_extra = int(site.version.rpartition(".")[2]) >= FIRST_WITH_EXTRA
    assert "idempotency:" in job["extra" if has_extra else "comment"]
    assert (job["comment"] == "mine") == has_extra


def test_a_submission_that_never_arrived_is_sent_once_more_after_settling(site: Site) -> None:
    name = f"k{uuid.uuid4().hex}"
    body = site.body(name)
    site.breaking.breaks.append(Break.BEFORE)
    assert site.send(name, body).json()["outcome"] == "unknown"
    began = time.monotonic()
    again = site.send(name, body)
    assert (again.status, replayed(again)) == (200, False), again.body
    assert time.monotonic() - began > SETTLE_SECONDS - 1
    assert site.note_of(again).startswith("sent again")
    assert replayed(site.send(name, body))
    assert site.counts(name)[name] == 1


@OLD_AND_NEW
@pytest.mark.parametrize("point", [Break.HELD_BEFORE, Break.HELD_AFTER])
def test_a_gateway_killed_between_begin_and_answer_runs_nothing_twice(
    site: Site, point: Break
) -> None:
    name = f"k{uuid.uuid4().hex}"
    body = site.body(name)
    site.breaking.breaks.append(point)
    with ThreadPoolExecutor(1) as pool:
        cut = pool.submit(site.send, name, body)
        assert site.breaking.held.wait(60)
        site.kill_gateway()
        with pytest.raises((OSError, http.client.HTTPException)):
            cut.result()
    site.breaking.go_on.set()
    answer = site.retry(name, body)
    assert replayed(answer) == (point is Break.HELD_AFTER)
    assert site.counts(name)[name] == 1


@OLD_AND_NEW
def test_a_client_that_hangs_up_finds_its_answer_stored(site: Site) -> None:
    name = f"k{uuid.uuid4().hex}"
    body = site.body(name)
    connection = site.gateway.connect()
    headers = {
        "Authorization": f"Bearer {site._token}",
        "Content-Type": "application/json",
        "Idempotency-Key": name,
    }
    site.breaking.breaks.append(Break.HELD_AFTER)
    connection.request("POST", f"/slurm/{site.version}/job/submit", body, headers)
    assert site.breaking.held.wait(60)
    connection.close()
    time.sleep(0.2)
    site.breaking.go_on.set()
    answer = site.send(name, body)
    assert (answer.status, replayed(answer)) == (200, True)
    assert "found" not in site.note_of(answer)
    assert site.counts(name)[name] == 1


class Load:
    """Clients that submit one key after the other and retry each until it is answered."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.mark = f"k{uuid.uuid4().hex[:12]}"
        self.answers: dict[str, int] = {}
        self._enough = Event()

    def run(self, disturb: Callable[[], None]) -> None:
        with ThreadPoolExecutor(SUBMITTERS) as pool:
            clients = [pool.submit(self._client, number) for number in range(SUBMITTERS)]
            try:
                disturb()
            finally:
                self._enough.set()
            for client in clients:
                client.result()

    def _client(self, number: int) -> None:
        made = 0
        while not self._enough.is_set():
            key = f"{self.mark}-{number}-{made}"
            made += 1
            answer = self.site.retry(key, self.site.body(key))
            self.answers[key] = answer.json()["job_id"]

    def check(self) -> None:
        """As many jobs as keys, and each answer names its own job."""
        counts = self.site.counts(self.mark)
        assert len(self.answers) > 2 * SUBMITTERS
        assert counts == Counter(dict.fromkeys(self.answers, 1))
        jobs = self.site.jobs()
        assert {key: number_of(jobs[key][0]) for key in self.answers} == self.answers


@OLD_AND_NEW
def test_a_gateway_killed_again_and_again_under_load_runs_each_key_once(site: Site) -> None:
    load = Load(site)

    def disturb() -> None:
        for _ in range(4):
            time.sleep(random.uniform(0.2, 0.9))  # noqa: S311  # any moment will do
            site.kill_gateway()

    load.run(disturb)
    load.check()


@OLD_AND_NEW
def test_connections_that_break_under_load_run_each_key_once(site: Site) -> None:
    load = Load(site)

    def disturb() -> None:
        for _ in range(6):
            time.sleep(0.3)
            site.breaking.breaks.extend([Break.BEFORE, Break.AFTER, Break.AFTER])

    load.run(disturb)
    load.check()


@OLD_AND_NEW
@pytest.mark.disturbs_slurm
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_slurmrestd_that_dies_under_load_runs_each_key_once(site: Site, how: str) -> None:
    load = Load(site)

    def disturb() -> None:
        for _ in range(2):
            time.sleep(0.4)
            getattr(site.release, how)("slurmrestd")
            site.release.start("slurmrestd")
            time.sleep(1)

    load.run(disturb)
    load.check()


@OLD_AND_NEW
@pytest.mark.disturbs_slurm
@pytest.mark.settle(20.0)
@pytest.mark.parametrize("how", ["suspend", pytest.param("stop", marks=pytest.mark.long), "kill"])
def test_a_slurmctld_that_goes_away_under_load_runs_each_key_once(site: Site, how: str) -> None:
    """With Slurm's default MessageTimeout and the gateway's own default for settling.

    A slurmctld that is killed forgets jobs that it took in its last seconds (measured), so that there
    may be fewer jobs than keys; never more.
    """
    load = Load(site)

    def disturb() -> None:
        time.sleep(0.4)
        if how != "suspend":
            getattr(site.release, how)("slurmctld")
            time.sleep(2)
            site.release.start("slurmctld")
        else:
            pid = site.release.pid_of("slurmctld")
            assert pid is not None
            os.kill(pid, signal.SIGSTOP)
            time.sleep(13)
            os.kill(pid, signal.SIGCONT)
        time.sleep(2)

    load.run(disturb)
    if how == "kill":
        counts = site.counts(load.mark)
        assert counts <= Counter(dict.fromkeys(load.answers, 1))
        assert counts
    else:
        load.check()
