"""A real slurmrestd behind the gateway: 160 clients that only take up room, and large answers."""

import json
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from uuid import uuid4

import pytest

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from lab.submission import submission
from tests.integration.conftest import StartGateway
from tests.integration.crowd import eventually, head, peak_bytes

IDLE = 160
LONG_JOBS = 1_000
TEXT_CHARACTERS = 1000
LARGE_BYTES = 7_000_000
BUFFER_BYTES = 262_144
PIECE_BYTES = 65_536
GROWTH_BYTES = 5 << 20
PAUSE_SECONDS = 0.3


@dataclass(frozen=True)
class Site:
    """One gateway in front of one release, and two users of it."""

    release: SlurmRelease
    gateway: GatewayProcess
    tokens: dict[str, str]

    @property
    def base(self) -> str:
        return f"/slurm/{self.release.api_versions[0]}"

    def reads(self, user: str) -> bool:
        return self.gateway.ask("GET", f"{self.base}/diag", self.tokens[user]).status == 200

    def raw(self) -> ssl.SSLSocket:
        connection = self.gateway.connect()
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        return connection.sock


@pytest.fixture
def site(
    one_slurm_release: SlurmRelease, gateway: StartGateway, identity_provider: IdentityProvider
) -> Site:
    tokens = {user: identity_provider.token_for(user) for user in ("alice", "bob")}
    running = gateway(one_slurm_release, {"limit": {"concurrent_per_identity": 1000}})
    return Site(one_slurm_release, running, tokens)


def take_up_room(site: Site, number: int) -> ssl.SSLSocket:
    """A client in the middle of its head, of its body, between requests, or not reading."""
    client, token = site.raw(), site.tokens["alice"]
    match number % 4:
        case 0:
            client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ")
        case 1:
            fields = ("Content-Type: application/json", "Content-Length: 100")
            client.sendall(head("POST", f"{site.base}/job/submit", token, *fields) + b"[ ")
        case 2:
            client.sendall(head("GET", f"{site.base}/diag", token))
            assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        case _:
            client.sendall(head("GET", f"{site.base}/diag", token))
    return client


def test_160_clients_that_do_nothing_keep_neither_the_gateway_nor_slurmrestd_from_anybody(
    site: Site,
) -> None:
    """Without a gateway slurmrestd hangs at its 125th connection."""
    with ExitStack() as crowd:
        for number in range(IDLE):
            crowd.enter_context(take_up_room(site, number))
        for _ in range(50):
            assert site.reads("bob")
        status, _ = site.release.request("bob", "GET", f"{site.base}/diag")
        assert status == 200, "slurmrestd itself has connections left"
    eventually(lambda: site.reads("alice"))


@pytest.fixture
def long_jobs(site: Site) -> Iterator[str]:
    """Held jobs whose texts are as long as slurmctld takes them (1,024 characters); their name."""
    name = f"long-{uuid4().hex}"
    path, text = f"/tmp/{'x' * (TEXT_CHARACTERS - 5)}", "c" * TEXT_CHARACTERS  # noqa: S108 - never opened
    job = submission(
        site.release.api_versions[0],
        "#!/bin/sh\ntrue\n",
        name=name,
        output=path,
        hold=True,
        standard_error=path,
        standard_input=path,
        comment=text,
    )

    def submit(_: int) -> int:
        target = f"{site.base}/job/submit"
        return site.gateway.ask("POST", target, site.tokens["alice"], job).status

    try:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(submit, range(LONG_JOBS))) == {200}
        yield name
    finally:
        site.release.run("scancel", f"--name={name}")


def large_answer(site: Site, slow_pieces: int) -> bytes:
    """All jobs, read with pauses in which somebody else is served."""
    with closing(site.gateway.connect(seconds=120)) as connection:
        fields = {"Authorization": f"Bearer {site.tokens['alice']}"}
        connection.request("GET", f"{site.base}/jobs", headers=fields)
        answer = connection.getresponse()
        assert answer.status == 200
        length, read = int(answer.headers["Content-Length"]), b""
        assert length > LARGE_BYTES
        for number, piece in enumerate(iter(lambda: answer.read(PIECE_BYTES), b"")):
            read += piece
            if number < slow_pieces:
                time.sleep(PAUSE_SECONDS)
                assert site.reads("bob")
    assert len(read) == length
    return read


@pytest.mark.parametrize("slow_pieces", [0, 10], ids=["fast", "slow"])
def test_a_large_answer_comes_whole_in_flat_memory_and_others_do_not_wait(
    site: Site, long_jobs: str, slow_pieces: int
) -> None:
    """Larger by far than what the gateway may hold of it, so that slurmrestd has to wait.

    200 MB cannot be had from a real slurmrestd in a test's time: a job with the longest texts that
    slurmctld takes is 8 KB of JSON, and /openapi is smaller than that of all of them.
    """
    site.gateway.write_configuration({"forward": {"buffer_bytes": BUFFER_BYTES}})
    site.gateway.stop()
    site.gateway.start()
    for _ in range(50):
        assert site.reads("bob")
    before = peak_bytes(site.gateway)
    read = large_answer(site, slow_pieces)
    assert peak_bytes(site.gateway) - before < GROWTH_BYTES
    jobs = [job for job in json.loads(read)["jobs"] if job["name"] == long_jobs]
    assert len(jobs) == LONG_JOBS
    assert {len(job["comment"]) for job in jobs} == {TEXT_CHARACTERS}
