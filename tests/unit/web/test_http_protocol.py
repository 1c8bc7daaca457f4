"""The hardened protocol on a transport in memory, and on real sockets where those matter."""

import asyncio
import ssl
import tomllib
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.denial import Denied, Reason
from gateway.stages.receive import Receive
from gateway.web.client import Client, client_of
from gateway.web.configured_protocol import (
    ProtocolLimits,
    Refusal,
    hardened_protocol,
)
from gateway.web.head_form import HeadLimits, check_complete, check_partial, method_and_target
from gateway.web.listening import bind
from gateway.web.problems import render
from gateway.web.server import Listener
from tests.examples import tried
from tests.security.raw_server import RawClient, raw_server

CORPUS = tomllib.loads(
    (Path(__file__).parents[2] / "security/corpus/raw_requests.toml").read_text()
)["request"]
GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n"
USUAL = ProtocolLimits()
QUICK = ProtocolLimits(header_seconds=0.1, linger_seconds=0.1)


class MemoryTransport(asyncio.Transport):
    """Notes what is done with it, and tells its protocol when it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.deeds: list[str] = []
        self.protocol: Any = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 4711) if name == "peername" else default

    def write(self, data: Any) -> None:
        assert not self.is_closing()
        self.written += data

    def is_closing(self) -> bool:
        return "close" in self.deeds or "abort" in self.deeds

    def close(self) -> None:
        self._end("close")

    def abort(self) -> None:
        self._end("abort")

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.deeds.append("write_eof")

    def pause_reading(self) -> None:
        self.deeds.append("pause")

    def resume_reading(self) -> None:
        self.deeds.append("resume")

    def _end(self, deed: str) -> None:
        if not self.is_closing():
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)
        self.deeds.append(deed)


class Connection:
    """One client connection: a protocol, its transport, and the requests that reached the application.

    The application waits for `gate` before it answers, and reads bodies first.
    """

    def __init__(self, limits: ProtocolLimits = USUAL, state: ServerState | None = None) -> None:
        self.scopes: list[Any] = []
        self.clients: list[Client] = []
        self.bodies: list[bytes] = []
        self.faults: list[Reason] = []
        self.refusals: list[Refusal] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.reads_bodies = True
        self.overflows = 0
        protocol_class = hardened_protocol(
            limits,
            self.refusals.append,
            render,
            new_request_id=lambda: "request-1",
            on_overflow=self._overflow,
        )
        config = Config(
            self._application, interface="asgi3", lifespan="off", ws="none", log_config=None
        )
        config.load()
        self.transport = MemoryTransport()
        self.protocol: Any = protocol_class(config, state or ServerState(), {})
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.clients.append(client_of(scope, receive, send))
        body, is_more, status = b"", self.reads_bodies, 200
        try:
            while is_more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body, is_more = body + message["body"], message["more_body"]
        except Denied as denied:
            self.faults.append(denied.reason)
            body, status = b"", 400
        self.bodies.append(body)
        if self.failure:
            raise self.failure
        await self.gate.wait()
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}"})

    def _overflow(self) -> None:
        self.overflows += 1

    async def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.transport.is_closing():
                self.protocol.data_received(piece)
            await settle()

    @property
    def statuses(self) -> list[int]:
        parts = self.transport.written.split(b"HTTP/1.1 ")[1:]
        return [int(part[:3]) for part in parts]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # a transport has no events
            await asyncio.sleep(0.01)


# one reading, however the bytes are cut


async def outcome(pieces: Sequence[bytes]) -> object:
    """What was admitted and what was refused; of several faults, the first one seen may differ."""
    connection = Connection()
    await connection.feed(*pieces)
    requests = [(s["method"], s["extensions"]["gateway.target"]) for s in connection.scopes]
    return (
        [status // 100 for status in connection.statuses],
        requests,
        connection.bodies,
        len(connection.refusals),
        connection.transport.deeds,
    )


def pieces_of(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


SMALL = [case["raw"].encode("latin-1") for case in CORPUS if "fill" not in case]
REQUESTS = st.one_of(
    st.sampled_from(SMALL),
    st.tuples(st.sampled_from(SMALL), st.integers(0, 400), st.binary(max_size=4)).map(
        lambda t: t[0][: t[1]] + t[2] + t[0][t[1] + len(t[2]) :]
    ),
    st.tuples(st.sampled_from(SMALL), st.sampled_from(SMALL)).map(b"".join),
    st.binary(max_size=60),
)


@tried(300)
@given(REQUESTS, st.lists(st.integers(0, 500), max_size=6))
def test_no_verdict_depends_on_how_the_bytes_were_cut(data: bytes, cuts: list[int]) -> None:
    """Nor on luck: mutations of every attack, and never an exception."""

    async def outcomes() -> list[object]:
        every_byte = range(len(data))
        return [await outcome(pieces_of(data, where)) for where in ([], cuts, every_byte)]

    whole, cut, bytewise = asyncio.run(outcomes())
    assert whole == cut == bytewise


# what the application is told


async def test_the_scope_holds_the_target_as_it_was_sent() -> None:
    connection = Connection()
    await connection.feed(b"GET /a%2Fb/%63?d=%65&f HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n\r\n")
    scope = connection.scopes[0]
    assert scope["extensions"]["gateway.target"] == b"/a%2Fb/%63?d=%65&f"
    assert scope["raw_path"] == b"/a%2Fb/%63"
    assert scope["path"] == "/a/b/c"
    assert scope["query_string"] == b"d=%65&f"
    assert scope["method"] == "GET"
    assert scope["http_version"] == "1.1"
    assert scope["headers"] == [(b"host", b"h"), (b"x-y", b"z")]
    assert scope["client"] == ("192.0.2.7", 4711)


async def test_receive_takes_what_the_protocol_hands_on() -> None:
    connection = Connection()
    await connection.feed(POST + b"{  }")
    scope = connection.scopes[0]
    headers = [*scope["headers"], (b"content-type", b"application/json")]
    target = scope["extensions"]["gateway.target"]
    request = Receive()(scope["method"], target, headers, scope["client"][0], "id")
    assert (request.target.path, request.length) == ("/a", 4)
    assert connection.bodies == [b"{  }"]


async def test_an_http_1_0_client_is_told_no_100() -> None:
    connection = Connection()
    head = b"POST /a HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    await connection.feed(head, b"x")
    assert connection.statuses == [200]


async def test_100_continue_is_sent_when_the_body_is_asked_for() -> None:
    connection = Connection()
    connection.reads_bodies = False
    head = b"POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    await connection.feed(head)
    assert connection.statuses == [200]

    connection = Connection()
    await connection.feed(head)
    assert connection.statuses == [100]
    await connection.feed(b"x")
    assert connection.statuses == [100, 200]


# faults and failures behind the head


async def test_a_fault_in_a_body_is_raised_where_the_body_is_read() -> None:
    connection = Connection()
    head = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    await connection.feed(head, b"1\r\nx\r\n", b"x\r\n", b"GET /b HTTP/1.1\r\nHost: h\r\n\r\n")
    assert connection.faults == [Reason.FRAMING_INVALID]
    assert connection.statuses == [400]
    assert connection.refusals == []  # the application has the request, and so its record
    assert b"connection: close" in connection.transport.written
    assert "write_eof" in connection.transport.deeds
    assert len(connection.scopes) == 1


async def test_an_application_that_fails_answers_with_a_problem() -> None:
    connection = Connection()
    connection.failure = RuntimeError("Canary-7f3a")
    await connection.feed(GET)
    assert connection.statuses == [500]
    assert b'"code":"internal-error"' in connection.transport.written
    assert b"Canary" not in connection.transport.written
    assert [(r.reason, r.method, r.target) for r in connection.refusals] == [
        (Reason.INTERNAL_ERROR, "GET", "/a")
    ]


async def test_a_body_nobody_read_ends_the_connection_after_the_answer() -> None:
    """What is left of it must not be taken for a request."""
    connection = Connection()
    connection.reads_bodies = False
    await connection.feed(POST, b"GET /evil HTTP/1.1\r\nHost: h\r\n\r\n")
    assert connection.statuses == [200]
    assert b"connection: close" in connection.transport.written
    assert len(connection.scopes) == 1


async def test_a_body_that_was_there_all_along_keeps_the_connection() -> None:
    connection = Connection()
    connection.reads_bodies = False
    await connection.feed(POST + b"{  }", GET)
    assert connection.statuses == [200, 200]
    assert b"connection: close" not in connection.transport.written


class ForgetfulParser:
    """The real parser, which gets some bytes less than there are."""

    def __init__(self, parser: Any, missing: int) -> None:
        self._parser = parser
        self._missing = missing

    def feed_data(self, data: bytes) -> None:
        self._parser.feed_data(data[: -self._missing])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)


async def test_a_parser_that_sees_another_end_of_a_body_ends_the_connection() -> None:
    connection = Connection()
    await connection.feed(POST)
    connection.protocol.parser = ForgetfulParser(connection.protocol.parser, 1)
    await connection.feed(b"{  }")
    assert connection.faults == [Reason.FRAMING_INVALID]
    assert connection.statuses == [400]
    assert "write_eof" in connection.transport.deeds


async def test_a_parser_that_sees_another_end_of_a_head_ends_the_connection() -> None:
    connection = Connection()
    connection.protocol.parser = ForgetfulParser(connection.protocol.parser, 2)
    await connection.feed(GET)
    assert [refusal.reason for refusal in connection.refusals] == [Reason.FRAMING_INVALID]
    assert connection.scopes == []


# refusals


async def test_a_refusal_is_reported_once_with_what_came_of_the_request() -> None:
    connection = Connection()
    await connection.feed(b"DELETE /a/b?access_token=Canary HTTP/1.1\r\nX: y\r\n\r\n", GET)
    assert connection.refusals == [
        Refusal(Reason.HOST_INVALID, "", "192.0.2.7", "DELETE", "/a/b", "request-1")
    ]
    assert b"x-request-id: request-1\r\n" in connection.transport.written
    assert connection.scopes == []


@pytest.mark.parametrize(
    ("head", "shown"),
    [
        (b"GET /a?b=Canary HTTP/1.1\r\n", ("GET", "/a")),
        (b"GET http://user:Canary@h/a HTTP/1.1\r\n", ("GET", "http://h/a")),
        (b"GET /\x1b[2J\xe9 HTTP/1.1\r\n", ("GET", "/?[2J?")),
        (b"GET /" + b"a" * 1000 + b" HTTP/1.1\r\n", ("GET", "/" + "a" * 255)),
        (b"\r\nGET /a", ("GET", "/a")),
        (b"G(T /Canary HTTP/1.1\r\n", ("", "")),
        (b"\x16\x03\x01", ("", "")),
        (b"", ("", "")),
    ],
)
def test_what_is_shown_of_a_refused_head_is_short_printable_and_no_secret(
    head: bytes, shown: tuple[str, str]
) -> None:
    assert method_and_target(head) == shown


async def test_a_refusal_that_cannot_be_reported_ends_the_connection_all_the_same() -> None:
    connection = Connection()

    def fail(refusal: Refusal) -> None:
        raise OSError("no audit")

    connection.protocol.terms = type(connection.protocol.terms)(
        **{**vars(connection.protocol.terms), "on_refusal": fail}
    )
    with pytest.raises(OSError, match="no audit"):
        await connection.feed(b"BAD\r\n\r\n")
    assert "write_eof" in connection.transport.deeds
    await connection.feed(GET)
    assert connection.scopes == []


async def test_a_refusal_waits_for_the_answer_before_it() -> None:
    connection = Connection()
    connection.gate.clear()
    await connection.feed(GET + b"BAD\r\n\r\n")
    assert connection.statuses == []
    connection.gate.set()
    await settle()
    assert connection.statuses == [200, 400]


async def test_pipelined_bytes_are_kept_up_to_a_limit_and_then_not_read() -> None:
    connection = Connection()
    connection.gate.clear()
    await connection.feed(GET, GET * 1000)
    assert "pause" not in connection.transport.deeds
    await connection.feed(GET * 1400)
    assert connection.transport.deeds[-1] == "pause"
    connection.gate.set()
    await until(lambda: len(connection.statuses) == 2401)
    assert connection.transport.deeds[-1] == "resume"
    assert len(connection.scopes) == 2401


# deadlines and ends


async def test_a_head_that_drips_is_refused_at_its_deadline() -> None:
    connection = Connection(QUICK)
    end = asyncio.get_running_loop().time() + 3
    while not connection.refusals and asyncio.get_running_loop().time() < end:
        data = GET[:4] if not connection.protocol._pending else b"/"
        await connection.feed(data)
        await asyncio.sleep(0.01)
    assert [refusal.reason for refusal in connection.refusals] == [Reason.HEADERS_TIMEOUT]
    assert connection.statuses == [408]


async def test_a_second_head_has_a_deadline_of_its_own() -> None:
    connection = Connection(QUICK)
    await connection.feed(GET, GET[:10])
    await until(connection.transport.is_closing)
    assert connection.statuses == [200, 408]


async def test_a_connection_that_never_says_anything_is_closed_without_a_word() -> None:
    connection = Connection(QUICK)
    await until(connection.transport.is_closing)
    assert connection.transport.written == b""
    assert connection.refusals == []


async def test_a_kept_connection_has_no_deadline_but_the_keep_alive() -> None:
    connection = Connection(QUICK)
    await connection.feed(GET)
    await asyncio.sleep(0.3)
    await connection.feed(GET)
    assert connection.statuses == [200, 200]


async def test_who_does_not_go_after_a_refusal_is_cut_off() -> None:
    connection = Connection(QUICK)
    await connection.feed(b"BAD\r\n\r\n")
    assert connection.transport.deeds == ["write_eof"]
    await until(lambda: "abort" in connection.transport.deeds)


async def test_a_connection_above_the_limit_is_closed_at_once() -> None:
    state = ServerState()
    limits = ProtocolLimits(connections=2)
    first, second, third = (Connection(limits, state) for _ in range(3))
    assert third.transport.deeds == ["abort"]
    assert third.overflows == 1
    await third.feed(GET)
    await first.feed(GET)
    second.transport.close()
    await settle()
    fourth = Connection(limits, state)
    await fourth.feed(GET)
    assert (first.statuses, third.statuses, fourth.statuses) == ([200], [], [200])


async def test_draining_closes_idle_connections_and_lets_answers_end() -> None:
    idle, busy = Connection(), Connection()
    busy.gate.clear()
    await busy.feed(POST)
    idle.protocol.shutdown()
    busy.protocol.shutdown()
    assert idle.transport.is_closing()
    await busy.feed(b"{  }")
    busy.gate.set()
    await settle()
    assert busy.statuses == [200]
    assert b"connection: close" in busy.transport.written
    assert busy.transport.is_closing()


# disconnects


async def watched(connection: Connection) -> tuple[list[str], Callable[[], None]]:
    heard: list[str] = []
    connection.gate.clear()
    await connection.feed(GET)
    client = connection.clients[-1]
    client.watch(lambda: heard.append("gone"))
    return heard, client.unwatch


async def test_a_client_that_hangs_up_is_noticed_without_anybody_waiting() -> None:
    connection = Connection()
    heard, _ = await watched(connection)
    assert heard == []
    connection.transport.close()
    await settle()
    assert heard == ["gone"]


async def test_who_no_longer_listens_is_not_called() -> None:
    connection = Connection()
    heard, unwatch = await watched(connection)
    unwatch()
    unwatch()
    connection.transport.close()
    await settle()
    assert heard == []


async def test_a_client_that_has_gone_already_is_reported_too() -> None:
    connection = Connection()
    await watched(connection)
    connection.transport.close()
    await settle()
    heard: list[str] = []
    connection.clients[-1].watch(lambda: heard.append("gone"))
    assert heard == []
    await settle()
    assert heard == ["gone"]


async def test_a_client_that_goes_after_its_answer_is_nobodys_business() -> None:
    connection = Connection()
    heard, _ = await watched(connection)
    connection.gate.set()
    await settle()
    connection.transport.close()
    await settle()
    assert heard == []


async def test_half_an_answer_can_be_broken_off() -> None:
    connection = Connection()
    await watched(connection)
    connection.clients[-1].abort()
    assert connection.transport.deeds[-1] == "abort"


# the form of a head, piece by piece


LIMITS = HeadLimits(maximum_url_bytes=100, maximum_header_bytes=300)


@given(st.binary(max_size=150), st.integers(0, 150))
def test_half_a_head_is_refused_only_if_the_whole_would_be(tail: bytes, known: int) -> None:
    """What was checked before may be skipped, and nothing that may still become right is refused."""
    data = b"GET /a HTTP/1.1\r\nHost: h\r\n" + tail.replace(b"\r\n\r\n", b"")
    known %= len(data) + 1
    try:
        check_partial(data[:known], 0, LIMITS)
        check_partial(data, known, LIMITS)
    except Denied:
        with pytest.raises(Denied):
            check_partial(data, 0, LIMITS)
    else:
        check_partial(data, 0, LIMITS)


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_head_tells_its_version(version: bytes) -> None:
    assert check_complete(b"GET / HTTP/" + version + b"\r\n\r\n", LIMITS) == (version == b"1.1")


# real sockets


def test_a_client_that_is_refused_while_it_uploads_can_read_why() -> None:
    """A socket closed with unread bytes would answer with a reset, and the answer would be lost."""
    with raw_server(ProtocolLimits(linger_seconds=5.0)) as server:
        client = RawClient(server.address)
        head = b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n"
        client.send([head, *[b"x" * 100_000] * 80])
        assert client.answer().status == 405
        assert client.rest() == b""
        client.close()


def test_connections_above_the_limit_get_no_answer() -> None:
    with raw_server(ProtocolLimits(connections=1)) as server:
        first = RawClient(server.address)
        first.send([GET])
        assert first.answer().status == 200
        second = RawClient(server.address)
        second.send([GET])
        assert second.rest() == b""
        first.send([GET])
        assert first.answer().status == 200
        first.close()
        second.close()


async def test_over_tls_a_refusal_is_read_as_well(tmp_path: Path) -> None:
    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    refusals: list[Refusal] = []
    protocol = hardened_protocol(QUICK, refusals.append, render)
    bound = bind("127.0.0.1:0", 0o600)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing may come through")

    listener = Listener("test", bound, application, protocol=protocol, tls=server_tls)
    await listener.begin()
    port = bound.socket.getsockname()[1]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client_tls, server_hostname="localhost"
    )
    writer.write(b"GET http://evil/ HTTP/1.1\r\nHost: h\r\n\r\n" + b"x" * 300_000)
    answer = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    await listener.stop(1.0)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b'"code":"target-malformed"' in answer
    assert len(refusals) == 1


def test_the_peer_of_a_unix_socket_has_no_address(tmp_path: Path) -> None:
    refusals: list[Refusal] = []
    protocol = hardened_protocol(QUICK, refusals.append, render)

    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing may come through")

    async def serve() -> bytes:
        bound = bind(f"unix:{tmp_path}/g.sock", 0o600)
        listener = Listener("test", bound, application, protocol=protocol)
        await listener.begin()
        reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/g.sock")
        writer.write(b"BAD\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await listener.stop(1.0)
        return answer

    assert asyncio.run(serve()).startswith(b"HTTP/1.1 400 ")
    assert [refusal.peer for refusal in refusals] == [None]
