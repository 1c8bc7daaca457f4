"""[cache] before real releases: what is kept is what Slurm says, each user's own, and never older than it may be."""

import json
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from lab.gateway import Answer, GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from lab.submission import state_of, submission, user_of

SCRIPT = "#!/bin/sh\nsleep 300\n"
LONG = {"cache": {"enabled": True, "seconds": 3600.0, "slow_seconds": 3600.0}}
"""Nothing ends by itself within a test, so that whatever is fresh was made so."""


class Person:
    """One user at a gateway that keeps answers for an hour."""

    def __init__(self, name: str, gateway: GatewayProcess, token: str, version: str) -> None:
        self.name, self.gateway, self.token, self.version = name, gateway, token, version
        self.submitted: list[int] = []

    def ask(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        target = f"/slurm/{self.version}{path}"
        return self.gateway.ask(method, target, self.token, body, headers)

    def submit(self, **fields: Any) -> int:
        answer = self.ask(
            "POST", "/job/submit", submission(self.version, SCRIPT, hold=True, **fields)
        )
        assert answer.status == 200, answer.body
        self.submitted.append(int(answer.json()["job_id"]))
        return self.submitted[-1]

    def listed(self) -> dict[int, dict[str, Any]]:
        answer = self.ask("GET", "/jobs")
        assert answer.status == 200, answer.body
        return {int(job["job_id"]): job for job in answer.json()["jobs"]}

    def record(self, answer: Answer) -> dict[str, Any]:
        return self.gateway.audit_record(str(answer.headers["X-Request-Id"]))


People = tuple[Person, Person]


@pytest.fixture
def people(
    slurm_release: SlurmRelease,
    gateway: Callable[..., GatewayProcess],
    identity_provider: IdentityProvider,
) -> Iterator[People]:
    """Alice and bob, and no jobs of theirs left behind."""
    at = gateway(slurm_release, LONG)
    version = slurm_release.api_versions[0]
    found = [
        Person(name, at, identity_provider.token_for(name), version) for name in ("alice", "bob")
    ]
    yield found[0], found[1]
    for person in found:
        for job_id in person.submitted:
            person.ask("DELETE", f"/job/{job_id}")


def status_of(answer: Answer) -> str:
    return str(answer.headers["Cache-Status"])


def test_a_users_own_submit_update_and_cancel_show_in_their_next_read(people: People) -> None:
    alice, _ = people
    assert alice.listed() is not None
    job_id = alice.submit()
    assert job_id in alice.listed()
    alice.ask("POST", f"/job/{job_id}", {"comment": "changed"})  # 20.11 says 500 and does it
    assert alice.listed()[job_id]["comment"] == "changed"
    assert alice.ask("GET", f"/job/{job_id}").json()["jobs"][0]["comment"] == "changed"
    alice.ask("DELETE", f"/job/{job_id}")
    assert state_of(alice.listed()[job_id]) == "CANCELLED"
    assert state_of(alice.ask("GET", f"/job/{job_id}").json()["jobs"][0]) == "CANCELLED"


def test_what_is_kept_is_byte_for_byte_what_slurmrestd_says(people: People) -> None:
    alice, _ = people
    alice.submit()
    first, second = alice.ask("GET", "/jobs"), alice.ask("GET", "/jobs")
    assert "hit" in status_of(second)
    assert first.body == second.body
    tight = alice.ask("GET", "/jobs", None, {"Accept-Encoding": "gzip"})
    assert tight.headers["Content-Encoding"] == "gzip"
    assert zlib.decompress(tight.body, wbits=31) == first.body
    same = alice.ask("GET", "/jobs", None, {"If-None-Match": str(first.headers["ETag"])})
    assert (same.status, same.body) == (304, b"")


def test_a_hit_is_in_the_audit_as_such_and_in_the_metrics(people: People) -> None:
    alice, _ = people
    first, second = alice.ask("GET", "/partitions"), alice.ask("GET", "/partitions")
    assert alice.record(first)["note"] == ""
    record = alice.record(second)
    assert record["note"].startswith("answered from the cache, ")
    assert (record["status"], record["bytes_out"]) == (200, len(second.body))
    assert record["upstream_ms"] == 0
    with urlopen(f"{alice.gateway.operations_url}/metrics", timeout=60) as metrics:  # noqa: S310 (http, ours)
        told = metrics.read().decode().splitlines()
    assert 'slurm_gateway_cache_answers_total{outcome="hit"} 1.0' in told
    assert "slurm_gateway_cache_upstream_calls_total 1.0" in told
    assert "slurm_gateway_cache_entries 1.0" in told


def test_a_fresh_answer_can_be_had(people: People, slurm_release: SlurmRelease) -> None:
    """What was done by Slurm's own commands shows to whoever asks for it."""
    alice, _ = people
    job_id = alice.submit()
    assert alice.listed()[job_id]["job_id"] == job_id
    slurm_release.run("scontrol", "update", f"JobId={job_id}", "comment=elsewhere")
    found: dict[int, Any] = {}
    for _ in range(200):  # until refresh_seconds are over
        answer = alice.ask("GET", "/jobs", None, {"Cache-Control": "no-cache"})
        found = {int(job["job_id"]): job for job in answer.json()["jobs"]}
        if found[job_id]["comment"] == "elsewhere":
            return
    assert found[job_id]["comment"] == "elsewhere"


def test_no_answer_is_anothers_whoever_asks_first(people: People) -> None:
    """Bob sees alice's jobs as Slurm is set here; that it was fetched for him is told by the status."""
    alice, bob = people
    for _ in range(2):
        alice.ask("GET", "/jobs")
    assert "fwd=uri-miss" in status_of(bob.ask("GET", "/jobs"))


def test_many_at_once_cost_few_calls(people: People) -> None:
    alice, _ = people
    statuses: list[str] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(status_of(alice.ask("GET", "/nodes"))))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = [status for status in statuses if "fwd" in status and "collapsed" not in status]
    assert (len(statuses), len(asked)) == (12, 1)


def test_limits_count_what_is_answered_from_memory(
    one_slurm_release: SlurmRelease,
    gateway: Callable[..., GatewayProcess],
    identity_provider: IdentityProvider,
) -> None:
    at = gateway(one_slurm_release, {**LONG, "limit": {"rates": {"read": "3/minute"}}})
    version = one_slurm_release.api_versions[0]
    alice = Person("alice", at, identity_provider.token_for("alice"), version)
    assert [alice.ask("GET", "/diag").status for _ in range(4)] == [200, 200, 200, 429]


# PrivateData: Slurm shows each user their own, and the gateway shows nobody another's


def restart(release: SlurmRelease) -> None:
    for daemon in ("slurmrestd", "slurmctld"):
        release.stop(daemon)
    for daemon in ("slurmctld", "slurmrestd"):
        release.start(daemon)


@pytest.fixture
def private_slurm(slurm_release: SlurmRelease) -> Iterator[SlurmRelease]:
    """A cluster on which users see their own jobs alone."""
    file: Path = slurm_release.layout.outside / "etc/slurm.conf"
    usual = file.read_text()
    try:
        file.write_text(usual + "PrivateData=jobs,usage,users\n")
        restart(slurm_release)
        yield slurm_release
    finally:
        file.write_text(usual)
        restart(slurm_release)


@pytest.mark.disturbs_slurm
def test_nobody_sees_anothers_jobs_where_slurm_hides_them(
    private_slurm: SlurmRelease, people: People
) -> None:
    """Every read of each, again and again, in both orders, with flights that overlap."""
    alice, bob = people
    own = {person.name: {person.submit(), person.submit()} for person in people}
    seen: dict[str, list[set[int]]] = {"alice": [], "bob": []}

    def look(person: Person) -> None:
        for _ in range(10):
            seen[person.name].append(set(person.listed()))

    threads = [threading.Thread(target=look, args=(person,)) for person in people * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for person, other in ((alice, bob), (bob, alice)):
        assert len(seen[person.name]) == 20
        for listed in seen[person.name]:
            assert own[person.name] <= listed
            assert not listed & own[other.name]
        hidden = person.ask("GET", f"/job/{min(own[other.name])}")
        shown = json.loads(hidden.body).get("jobs", []) if hidden.status == 200 else []
        assert not {user_of(job) for job in shown} - {person.name}
