"""Clients that stall at every stage -> others do not wait for them, their connections end, their memory comes back."""

import re
import socket
import ssl
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import cycle, islice
from pathlib import Path
from threading import Event
from typing import NamedTuple

import pytest

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from lab.toml_text import Settings
from tests.configurations import token_for
from tests.integration.crowd import (
    READ,
    SUBMIT,
    Running,
    all_is_given_back,
    connect,
    eventually,
    gauge,
    head,
    read_on,
    serving,
    session,
)
from tests.integration.marked_upstream import MarkedUpstream, is_made_of, marked_upstream
from tests.serving import Served

StartGateway = Callable[..., GatewayProcess]
STALLED = 124
"""As many as slurmrestd itself has connections for."""
LARGE, LARGE_BYTES = "/slurm/v0.0.38/jobs", 20_000_000
PATIENCE_SECONDS = 12.0
SHORT: Settings = {
    "server": {"header_seconds": PATIENCE_SECONDS, "keep_alive_seconds": PATIENCE_SECONDS},
    "receive": {"body_idle_seconds": PATIENCE_SECONDS},
    "forward": {"buffer_bytes": 262_144, "minimum_bytes_per_second": 1_000_000},
}
"""A reader that stops in a large answer has ten seconds and what the answer's piece takes at that rate."""
ENDED_SECONDS = PATIENCE_SECONDS + 40.0
OTHERS = ("alice", "bob", "carol", "dave")
LOAD_SECONDS = 2.0
GENEROUS = 20.0
"""Two cores, with the clients and the upstream on them: what blocks costs hundreds of times as much."""
MEMORY_GROWTH = 1.1
TRIMMED_SECONDS = 40.0
IDLE = 160

Stall = Callable[[ssl.SSLSocket, str], None]


def stall_before_the_first_byte(client: ssl.SSLSocket, token: str) -> None:
    """The handshake is done, and that is all."""


def stall_in_the_head(client: ssl.SSLSocket, token: str) -> None:
    client.sendall(head("GET", READ, token)[:-4] + b"\r\nX-Slow: ")


def stall_before_the_body(client: ssl.SSLSocket, token: str) -> None:
    fields = ("Content-Type: application/json", "Content-Length: 100", "Expect: 100-continue")
    client.sendall(head("POST", SUBMIT, token, *fields))


def stall_in_the_body(client: ssl.SSLSocket, token: str) -> None:
    fields = ("Content-Type: application/json", "Content-Length: 100")
    client.sendall(head("POST", SUBMIT, token, *fields) + b"[ ")


def stall_in_a_chunk(client: ssl.SSLSocket, token: str) -> None:
    fields = ("Content-Type: application/json", "Transfer-Encoding: chunked")
    client.sendall(head("POST", SUBMIT, token, *fields) + b"10\r\n[ ")


def stall_in_the_answer(client: ssl.SSLSocket, token: str) -> None:
    """It reads the head and a little more."""
    client.sendall(head("GET", LARGE, token))
    assert client.recv(64).startswith(b"HTTP/1.1 200 ")


def stall_between_requests(client: ssl.SSLSocket, token: str) -> None:
    client.sendall(head("GET", READ, token))
    assert client.recv(4096).startswith(b"HTTP/1.1 200 ")


STAGES: tuple[Stall, ...] = (
    stall_before_the_first_byte,
    stall_in_the_head,
    stall_before_the_body,
    stall_in_the_body,
    stall_in_a_chunk,
    stall_in_the_answer,
    stall_between_requests,
)


class Load(NamedTuple):
    """What others got done in LOAD_SECONDS: requests, and the median and the longest of their times."""

    requests: int
    median_seconds: float
    longest_seconds: float


def ask_until(gateway: Served, user: str, stopped: Event) -> list[float]:
    """One client that does nothing wrong; the seconds of each of its requests."""
    connection, token, took = session(gateway), token_for(user), []
    while not stopped.is_set():
        began = time.monotonic()
        status, _, body = read_on(connection, READ, token)
        took.append(time.monotonic() - began)
        assert status == 200
        assert is_made_of(user, body)
    connection.close()
    return took


def load_of_others(gateway: Served) -> Load:
    stopped = Event()
    with ThreadPoolExecutor(len(OTHERS)) as pool:
        asking = [pool.submit(ask_until, gateway, user, stopped) for user in OTHERS]
        time.sleep(LOAD_SECONDS)
        stopped.set()
        took = [seconds for each in asking for seconds in each.result()]
    return Load(len(took), statistics.median(took), max(took))


def resident_bytes(gateway: Running) -> int:
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


@pytest.fixture
def upstream() -> Iterator[MarkedUpstream]:
    with marked_upstream({"jobs": LARGE_BYTES}) as running:
        yield running


@pytest.fixture
def served(tmp_path: Path, upstream: MarkedUpstream) -> Iterator[Served]:
    """It has served its first requests, large ones too."""
    with serving(tmp_path, upstream.url, SHORT) as running:
        connection = session(running)
        for path in (READ, LARGE, READ):
            assert read_on(connection, path, token_for("warm"))[0] == 200
        connection.close()
        yield running


def stalled_crowd(gateway: Served, stack: ExitStack) -> list[tuple[Stall, ssl.SSLSocket]]:
    """STALLED clients of as many users, at every stage in turn."""

    def one(number: int, stall: Stall) -> tuple[Stall, ssl.SSLSocket]:
        client = connect(gateway, 4096)
        stall(client, token_for(f"user{number}"))
        return stall, client

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(one, range(STALLED), islice(cycle(STAGES), STALLED)))
    for _, client in made:
        stack.enter_context(client)
    return made


def test_stalled_clients_at_every_stage_keep_nobody_waiting_and_are_ended(
    served: Served, upstream: MarkedUpstream
) -> None:
    gateway = served
    before = load_of_others(gateway)
    memory = resident_bytes(gateway)
    with ExitStack() as stack:
        crowd = stalled_crowd(gateway, stack)
        assert gauge(gateway, "client_connections") == STALLED
        with_them = load_of_others(gateway)
        assert gauge(gateway, "client_connections") > STALLED / 2, "most of them were there"
        assert with_them.requests > before.requests / GENEROUS, (before, with_them)
        assert with_them.median_seconds < before.median_seconds * GENEROUS, (before, with_them)
        assert with_them.longest_seconds < PATIENCE_SECONDS, "none waited for a stalled one's end"
        eventually(lambda: all_is_given_back(gateway), ENDED_SECONDS)
        assert_ended(crowd)
    assert upstream.uploads == [], "no half request went on"
    codes = {record["code"] for record in gateway.records if record["code"]}
    assert codes == {"headers-timeout", "body-timeout", "client-too-slow"}
    after = load_of_others(gateway)
    assert after.requests > before.requests / GENEROUS
    eventually(lambda: resident_bytes(gateway) < memory * MEMORY_GROWTH, TRIMMED_SECONDS)
    assert "Traceback" not in gateway.log


def assert_ended(crowd: list[tuple[Stall, ssl.SSLSocket]]) -> None:
    """Each of them, at the gateway's word: none has the whole of an answer that it did not read."""
    for stall, client in crowd:
        received = b""
        with suppress(ConnectionError, ssl.SSLEOFError):
            while piece := client.recv(1 << 20):
                received += piece
        if stall is stall_in_the_answer:
            assert len(received) < LARGE_BYTES
        elif stall in (stall_before_the_first_byte, stall_between_requests):
            assert received == b"", stall.__name__
        else:
            assert b"HTTP/1.1 408 " in received, stall.__name__


# a real slurmrestd behind it


@pytest.mark.disturbs_slurm
def test_idle_connections_that_stop_slurmrestd_do_not_stop_the_gateway(
    one_slurm_release: SlurmRelease, gateway: StartGateway, identity_provider: IdentityProvider
) -> None:
    """slurmrestd 22.05 answers on 124 connections and ends none of them: 160 are more than all."""
    release = one_slurm_release
    target = f"/slurm/{release.api_versions[0]}/diag"
    with ExitStack() as stack:
        for _ in range(STALLED):
            stack.enter_context(
                socket.create_connection(("127.0.0.1", release.ports["slurmrestd"]))
            )
        # A queue that overflowed lets a later one overtake until the kernel has sent again.
        eventually(lambda: not answers_directly(release, target), 30)
        assert not answers_directly(release, target), "it serves 124 connections, idle ones too"
    eventually(lambda: answers_directly(release, target), 30)
    running = gateway(release)
    token = identity_provider.token_for("alice")
    with ExitStack() as stack:
        for number in range(IDLE):
            connection = running.connect()
            stack.callback(connection.close)
            connection.connect()
            if number % 2:
                connection.request("GET", target, headers={"Authorization": f"Bearer {token}"})
                assert connection.getresponse().read()
        for user in ("alice", "bob"):
            fresh = identity_provider.token_for(user)
            assert [running.ask("GET", target, fresh).status for _ in range(20)] == [200] * 20
        eventually(lambda: answers_directly(release, target), 30)  # the gateway leaves it room


def answers_directly(release: SlurmRelease, target: str) -> bool:
    """Whether slurmrestd itself answers a new connection within two seconds, whatever it says."""
    try:
        with socket.create_connection(("127.0.0.1", release.ports["slurmrestd"]), 2) as client:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            return client.recv(16).startswith(b"HTTP/1.1 ")
    except TimeoutError:  # of the connection too, where the queue is full
        return False
