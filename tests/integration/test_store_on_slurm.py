"""Two gateways with one real store before the real Slurm: one key is one job, whoever is asked and whoever dies."""

import http.client
import json
import os
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from lab.gateway import Answer, GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from lab.store import StoreServer
from lab.submission import submission
from tests.integration.breaking import Break, Breaking
from tests.store_world import running_store, settings_of

SETTLE_SECONDS = 3.0
PATIENCE_SECONDS = 120.0


class Site:
    """Two gateways, the store between them, and a relay that holds submissions."""

    def __init__(
        self,
        release: SlurmRelease,
        start: Callable[..., GatewayProcess],
        provider: IdentityProvider,
        store: StoreServer,
    ) -> None:
        self.release = release
        self.store = store
        self.breaking = Breaking(release.ports["slurmrestd"])
        settings = {
            "forward": {"upstream": self.breaking.url},
            "idempotency": {
                "settle_seconds": SETTLE_SECONDS,
                "wait_seconds": 2 * SETTLE_SECONDS + 20,
            },
            "cache": {"enabled": True, "seconds": 3600.0, "slow_seconds": 3600.0},
            **settings_of(store),
        }
        self.gateways = [start(release, settings), start(release, settings)]
        self.version = release.api_versions[0]
        self.names: list[str] = []
        self._token = provider.token_for("alice")

    def name(self) -> str:
        self.names.append(f"s{uuid.uuid4().hex}")
        return self.names[-1]

    def send(self, gateway: GatewayProcess, name: str, *, has_key: bool = True) -> Answer:
        body = submission(self.version, "#!/bin/sh\ntrue\n", name=name, hold=True)
        headers = {"Idempotency-Key": f'"{name}"'} if has_key else {}
        target = f"/slurm/{self.version}/job/submit"
        return gateway.ask("POST", target, self._token, json.dumps(body).encode(), headers)

    def listed(self, gateway: GatewayProcess) -> set[str]:
        """The names of the jobs that a gateway lists."""
        answer = gateway.ask("GET", f"/slurm/{self.version}/jobs", self._token)
        assert answer.status == 200, answer.body
        return {job["name"] for job in answer.json()["jobs"]}

    def retry(self, gateway: GatewayProcess, name: str) -> Answer:
        """As a client does it: until there is an answer that says what became of the job."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with suppress(OSError, http.client.HTTPException):
                answer = self.send(gateway, name)
                if answer.status == 200:
                    return answer
                assert answer.status in (409, 502, 503), answer.body
            time.sleep(0.3)
        raise AssertionError(f"{name} was never answered")

    def count(self, name: str) -> int:
        return Counter(self.release.run("squeue", "-h", "-o", "%j").split())[name]

    def is_store_back(self, gateway: GatewayProcess) -> bool:
        host = str(gateway.settings["server"]["operations_listen"])
        connection = http.client.HTTPConnection(host, timeout=5)
        connection.request("GET", "/readyz")
        parts: dict[str, Any] = json.loads(connection.getresponse().read())["parts"]
        connection.close()
        return parts["store"]["ok"] is True


@pytest.fixture
def site(
    tmp_path_factory: pytest.TempPathFactory,
    one_slurm_release: SlurmRelease,
    gateway: Callable[..., GatewayProcess],
    identity_provider: IdentityProvider,
) -> Iterator[Site]:
    with running_store(tmp_path_factory.mktemp("store")) as store:
        made = Site(one_slurm_release, gateway, identity_provider, store)
        yield made
        made.breaking.close()
        for name in made.names:
            one_slurm_release.run("scancel", "--user=alice", f"--name={name}")


def test_one_key_at_two_gateways_at_the_same_time_is_one_job(site: Site) -> None:
    names = [site.name() for _ in range(4)]
    with ThreadPoolExecutor(16) as threads:
        asked = [
            (name, threads.submit(site.retry, gateway, name))
            for name in names
            for gateway in site.gateways * 3
        ]
        ids: dict[str, set[int]] = {}
        for name, job in asked:
            ids.setdefault(name, set()).add(job.result().json()["job_id"])
    assert [len(found) for found in ids.values()] == [1] * 4
    assert [site.count(name) for name in names] == [1] * 4


@pytest.mark.parametrize("fate", [Break.HELD_BEFORE, Break.HELD_AFTER])
def test_a_gateway_that_is_killed_while_it_submits_leaves_one_job_to_the_other(
    site: Site, fate: Break
) -> None:
    """Slurm has not seen the submission, or has taken it; the other gateway finds out which."""
    first, second = site.gateways
    name = site.name()
    site.breaking.breaks.append(fate)
    with ThreadPoolExecutor(2) as threads:
        lost = threads.submit(site.send, first, name)
        assert site.breaking.held.wait(PATIENCE_SECONDS)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        site.breaking.go_on.set()
        with pytest.raises((OSError, http.client.HTTPException)):
            lost.result()
    answer = site.retry(second, name)
    assert site.count(name) == 1
    assert site.retry(second, name).json()["job_id"] == answer.json()["job_id"]
    assert site.count(name) == 1


def test_while_the_store_is_away_a_key_is_refused_and_nothing_is_sent(site: Site) -> None:
    first, second = site.gateways
    before, during = site.name(), site.name()
    answer = site.send(first, before)
    assert answer.status == 200, answer.body
    site.store.kill()
    refused = site.send(second, during)
    assert (refused.status, refused.json()["code"]) == (503, "idempotency-unavailable")
    assert refused.headers["Retry-After"]
    assert site.count(during) == 0
    plain = site.name()
    assert site.send(second, plain, has_key=False).status == 200, "without a key it goes on"
    site.store.start()
    end = time.monotonic() + PATIENCE_SECONDS
    while not site.is_store_back(second):
        assert time.monotonic() < end
        time.sleep(0.05)
    assert site.retry(second, during).status == 200
    replayed = site.retry(second, before)
    assert replayed.json()["job_id"] == answer.json()["job_id"]
    assert replayed.headers["Idempotent-Replayed"] == "true"
    assert [site.count(name) for name in (before, during, plain)] == [1, 1, 1]


def test_what_a_user_wrote_at_one_gateway_shows_in_their_next_read_at_the_other(site: Site) -> None:
    """Each keeps answers for an hour; the store alone tells the other of a write."""
    first, second = site.gateways
    for gateway, other in ((first, second), (second, first)):
        assert site.name() not in site.listed(gateway) | site.listed(other)
        assert site.send(gateway, site.names[-1]).status == 200
        assert site.names[-1] in site.listed(other)
