"""Large answers to slow readers and large uploads: flat memory, and nobody else is kept waiting."""

import re
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.configurations import token_for
from tests.integration.crowd import (
    NEVER,
    READ,
    SUBMIT,
    all_is_given_back,
    connect,
    eventually,
    framing,
    gauge,
    head,
    peak_bytes,
    read_on,
    record_of,
    send_body,
    serving,
    session,
)
from tests.integration.marked_upstream import MarkedUpstream, is_made_of, marked_upstream, marker
from tests.serving import Served

MIB = 1 << 20
LARGE_BYTES = 200_000_000
GROWTH_BYTES = 16 * MIB
MOST_BODY_BYTES = 52_428_800
LARGE, MIDDLE, SMALLER = (f"/slurm/v0.0.38/{word}" for word in ("jobs", "partitions", "licenses"))
SIZES = {"jobs": LARGE_BYTES, "partitions": 8 * MIB, "licenses": MIB}
UPLOAD = "/slurmdb/v0.0.38/qos"
"""Its body is under no rules of roles, which read bodies of 16 MiB at the most."""
FEW = {
    "server": {"header_seconds": 60},
    "receive": {"body_idle_seconds": 60},
    "forward": {"connections": 8},
    "authorize": {
        "roles": {
            "user": {"allow": ["READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE", "POST /slurmdb/*/qos"]}
        }
    },
    "limit": {"rates": {"admin": NEVER}},
}
"""Two for each identity, and memory for eight answers of 8 MiB that wait for their readers.

The deadlines are longer than 160 clients take to connect one after the other.
"""

Connect = Callable[..., ssl.SSLSocket]


@pytest.fixture
def connected() -> Iterator[Connect]:
    """`connect`, with connections that end with the test."""
    with ExitStack() as stack:

        def to(gateway: Served, receive_bytes: int = 0) -> ssl.SSLSocket:
            return stack.enter_context(connect(gateway, receive_bytes))

        yield to


@pytest.fixture
def upstream() -> Iterator[MarkedUpstream]:
    with marked_upstream(SIZES) as running:
        yield running


@pytest.fixture
def gateway(tmp_path: Path, upstream: MarkedUpstream) -> Iterator[Served]:
    """Its memory is warm."""
    with serving(tmp_path, upstream.url, FEW) as running:
        connection = session(running)
        for path in (READ, MIDDLE, MIDDLE, READ):
            assert read_on(connection, path, token_for("warm"))[0] == 200
        connection.close()
        yield running


def take_head(client: ssl.SSLSocket) -> tuple[bytes, bytes]:
    """(head, what came behind it)."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = client.recv(1024)
        assert piece, data
        data += piece
    before, _, after = data.partition(b"\r\n\r\n")
    return before + b"\r\n\r\n", after


def request_id_of(answer_head: bytes) -> str:
    found = re.search(rb"\r\nx-request-id: (\S+)\r\n", answer_head)
    assert found is not None
    return found[1].decode()


class Reader:
    """Reads one large answer in pieces and checks every byte of it."""

    def __init__(self, client: ssl.SSLSocket, user: str, path: str) -> None:
        self._client = client
        self._client.sendall(head("GET", path, token_for(user)))
        self.head, early = take_head(self._client)
        assert self.head.startswith(b"HTTP/1.1 200 ")
        own = marker(user)
        self._expected = own * (MIB // len(own) + 2)
        self._own_bytes = len(own)
        self.read_bytes = 0
        self._check(early)

    def _check(self, piece: bytes) -> None:
        start = self.read_bytes % self._own_bytes
        assert piece == self._expected[start : start + len(piece)]
        self.read_bytes += len(piece)

    def take(self, most: int = 262_144) -> bool:
        """The next piece; False at the end of the connection."""
        piece = self._client.recv(most)
        self._check(piece)
        return bool(piece)

    def close(self) -> None:
        self._client.close()


class Other:
    """Another user, who reads something small now and then and must not wait."""

    def __init__(self, gateway: Served, user: str = "bob") -> None:
        self._session = session(gateway)
        self._user = user

    def reads(self, times: int = 1) -> None:
        for _ in range(times):
            status, _, body = read_on(self._session, READ, token_for(self._user))
            assert status == 200
            assert is_made_of(self._user, body)

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def other(gateway: Served) -> Iterator[Other]:
    user = Other(gateway)
    yield user
    user.close()


@pytest.mark.parametrize(
    ("pause_seconds", "slow_seconds"),
    [
        pytest.param(0.0, 0.0, id="fast"),
        pytest.param(0.05, 4.0, id="slow"),
        pytest.param(0.1, 70.0, id="slow-for-long", marks=pytest.mark.long),
    ],
)
def test_a_200_mb_answer_takes_no_memory_however_it_is_read(
    gateway: Served, connected: Connect, other: Other, pause_seconds: float, slow_seconds: float
) -> None:
    """While it is read slowly, another user's reads are answered between any two of its pieces."""
    before = peak_bytes(gateway)
    reader = Reader(connected(gateway, 65_536), "slow", LARGE)
    slow_until = time.monotonic() + slow_seconds
    while reader.read_bytes < LARGE_BYTES:
        assert reader.take()
        if time.monotonic() < slow_until:
            other.reads()
            time.sleep(pause_seconds)
    assert peak_bytes(gateway) - before < GROWTH_BYTES
    record = record_of(gateway, request_id_of(reader.head))
    assert (record["bytes_out"], record["complete"]) == (LARGE_BYTES, True)


def test_readers_that_stop_free_their_connections_while_answers_fit_the_buffer(
    gateway: Served, connected: Connect, other: Other
) -> None:
    """Eight of four users, who may have two connections each; all of them get all of it in the end."""
    with ThreadPoolExecutor(8) as pool:
        starting = [
            pool.submit(Reader, connected(gateway, 65_536), f"user{number % 4}", MIDDLE)
            for number in range(8)
        ]
    readers = [each.result() for each in starting]
    eventually(lambda: gauge(gateway, "pool_in_use") <= 1)
    other.reads(20)
    for reader in readers:
        while reader.read_bytes < 8 * MIB:
            assert reader.take()


def test_readers_of_larger_answers_take_no_more_than_their_own_share(
    gateway: Served, connected: Connect, other: Other
) -> None:
    """One user with many of them waits for itself; all others go on."""
    readers = [Reader(connected(gateway, 65_536), "slow", LARGE) for _ in range(2)]
    waiting = connected(gateway)
    waiting.sendall(head("GET", READ, token_for("slow")))
    other.reads(20)
    assert gauge(gateway, "queue_length") == 1
    for reader in readers:
        reader.close()
    assert take_head(waiting)[0].startswith(b"HTTP/1.1 200 ")


def test_a_reader_that_stops_in_a_larger_answer_is_cut_off_and_recorded(
    tmp_path: Path, upstream: MarkedUpstream, connected: Connect
) -> None:
    """It holds a connection to slurmrestd, so it has ten seconds. What it got is not taken for whole."""
    minimum = {"forward": {"connections": 8, "minimum_bytes_per_second": 1_000_000}}
    with serving(tmp_path, upstream.url, minimum) as gateway:
        reader = Reader(connected(gateway, 65_536), "slow", LARGE)
        eventually(lambda: gauge(gateway, "pool_in_use") == 0, seconds=25)
        record = record_of(gateway, request_id_of(reader.head))
        assert (record["code"], record["complete"]) == ("client-too-slow", False)
        with suppress(ConnectionError):
            while reader.take():
                pass
        assert reader.read_bytes < LARGE_BYTES


# uploads


@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_the_largest_upload_arrives_whole_with_a_length_of_our_own_and_takes_no_memory(
    gateway: Served, upstream: MarkedUpstream, connected: Connect, chunked: bool
) -> None:
    before = peak_bytes(gateway)
    client = connected(gateway)
    fields = (
        "Content-Type: application/json; charset=utf-8",
        framing(MOST_BODY_BYTES, chunked=chunked),
    )
    client.sendall(head("POST", UPLOAD, token_for("alice"), *fields))
    sha256 = send_body(client, MOST_BODY_BYTES, chunked=chunked)
    answer, _ = take_head(client)
    assert answer.startswith(b"HTTP/1.1 200 ")
    (upload,) = upstream.uploads
    assert (upload.length, upload.sha256) == (MOST_BODY_BYTES, sha256)
    assert upload.head.lower().count(b"content-length:") == 1
    assert b"transfer-encoding" not in upload.head.lower()
    assert b"\r\nContent-Type: application/json\r\n" in upload.head
    assert peak_bytes(gateway) - before < GROWTH_BYTES
    record = record_of(gateway, request_id_of(answer))
    assert (record["bytes_in"], record["body_sha256"]) == (MOST_BODY_BYTES, sha256)
    client.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_one_byte_more_is_refused_and_nothing_of_it_arrives(
    gateway: Served, upstream: MarkedUpstream, connected: Connect, chunked: bool
) -> None:
    client = connected(gateway)
    size = MOST_BODY_BYTES + 1
    fields = ("Content-Type: application/json", framing(size, chunked=chunked))
    client.sendall(head("POST", SUBMIT, token_for("alice"), *fields))
    if chunked:
        send_body(client, size, chunked=True)
    answer, _ = take_head(client)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert upstream.uploads == []
    assert record_of(gateway, request_id_of(answer))["code"] == "body-too-large"
    client.close()


def test_a_slow_upload_holds_no_connection_to_slurmrestd(
    gateway: Served, upstream: MarkedUpstream, connected: Connect
) -> None:
    """Ten of one user, who may have two connections, and all of them arrive in the end."""
    uploads = []
    for _ in range(10):
        client = connected(gateway)
        fields = ("Content-Type: application/json", "Content-Length: 2000000")
        client.sendall(head("POST", SUBMIT, token_for("alice"), *fields) + b"{" + b" " * 999_999)
        uploads.append(client)
    alice = Other(gateway, "alice")
    alice.reads(5)
    alice.close()
    assert gauge(gateway, "pool_in_use") <= 1
    assert gauge(gateway, "queue_length") == 0
    assert upstream.uploads == []
    for client in uploads:
        client.sendall(b" " * 999_999 + b"}")
        assert take_head(client)[0].startswith(b"HTTP/1.1 200 ")
    assert len(upstream.uploads) == 10
    eventually(lambda: gauge(gateway, "pool_in_use") <= 1)


@pytest.mark.parametrize("sent_bytes", [0, 1, 3_000_000])
def test_a_client_that_hangs_up_in_its_upload_is_recorded_and_nothing_is_sent_on(
    gateway: Served, upstream: MarkedUpstream, connected: Connect, sent_bytes: int
) -> None:
    known = len(gateway.records)
    client = connected(gateway)
    fields = ("Content-Type: application/json", "Content-Length: 4000000")
    client.sendall(head("POST", SUBMIT, token_for("alice"), *fields) + b" " * sent_bytes)
    time.sleep(0.2)
    client.close()
    eventually(lambda: len(gateway.records) > known)
    record = gateway.records[known]
    assert (record["code"], record["status"], record["complete"]) == ("client-closed", 499, False)
    assert (record["user"], record["method"]) == ("alice", "POST")
    assert upstream.uploads == []
    eventually(lambda: all_is_given_back(gateway))


@pytest.mark.parametrize(
    ("token", "length", "status"),
    [
        ("", 10, b"401"),
        ("not.a.token", 10, b"401"),
        (None, MOST_BODY_BYTES + 1, b"413"),
        (None, 2, b"100"),
    ],
    ids=["no-token", "bad-token", "too-large", "good"],
)
def test_a_body_is_asked_for_only_when_the_head_is_granted(
    gateway: Served,
    upstream: MarkedUpstream,
    connected: Connect,
    *,
    token: str | None,
    length: int,
    status: bytes,
) -> None:
    client = connected(gateway)
    shown = token_for("alice") if token is None else token
    sent = head(
        "POST", SUBMIT, shown, "Content-Type: application/json",
        f"Content-Length: {length}", "Expect: 100-continue",
    )  # fmt: skip
    client.sendall(sent if shown else sent.replace(b"Authorization: Bearer \r\n", b""))
    answer, _ = take_head(client)
    assert answer.split(b" ", 2)[1] == status
    if status != b"100":
        assert upstream.uploads == []
        return
    client.sendall(b"{}")
    assert take_head(client)[0].startswith(b"HTTP/1.1 200 ")
    assert [upload.length for upload in upstream.uploads] == [2]
    client.close()


# clients that only take up room


def test_idle_and_slow_clients_by_the_hundred_keep_nobody_waiting(
    gateway: Served, upstream: MarkedUpstream, connected: Connect
) -> None:
    """More than slurmrestd has connections: in the head, in the body, between requests, not reading."""
    crowd = []
    for number in range(160):
        user = f"user{number % 20}"
        client = connected(gateway, 4096)
        match number % 4:
            case 0:
                client.sendall(b"GET " + READ.encode() + b" HTTP/1.1\r\nHost: h\r\nX-Slow: ")
            case 1:
                fields = ("Content-Type: application/json", "Content-Length: 100")
                client.sendall(head("POST", SUBMIT, token_for(user), *fields) + b"[ ")
            case 2:
                client.sendall(head("GET", READ, token_for(user)))
                take_head(client)
            case _:
                client.sendall(head("GET", SMALLER, token_for(user)))
        crowd.append(client)
    eventually(lambda: gauge(gateway, "client_connections") == 160)
    other = Other(gateway)
    other.reads(50)
    other.close()
    eventually(lambda: gauge(gateway, "pool_in_use") <= 1)
    for client in crowd:
        client.close()
    eventually(lambda: all_is_given_back(gateway))


def test_half_a_head_ends_after_its_deadline(
    tmp_path: Path, upstream: MarkedUpstream, connected: Connect
) -> None:
    with serving(tmp_path, upstream.url, {"server": {"header_seconds": 1}}) as gateway:
        client = connected(gateway)
        client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-Slow: ")
        answer, _ = take_head(client)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert record_of(gateway, request_id_of(answer))["code"] == "headers-timeout"
        client.close()
