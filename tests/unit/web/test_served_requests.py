"""What the protocol serves at once is what its ASGI form would have handed to an application."""

import asyncio
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.denial import Denied, Reason
from gateway.web.client import Client, PortableClient
from gateway.web.configured_protocol import ProtocolLimits, hardened_protocol
from gateway.web.problems import render
from tests.unit.web.test_http_protocol import MemoryTransport, settle

REQUESTS = [
    b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /a?x=%41&y HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n\r\n",
    b"GET /a? HTTP/1.1\r\nHost: h\r\n\r\n",
    b"DELETE /a/1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
    b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n0\r\n\r\n",
]
BROKEN = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbody\r\n"


class Seen(NamedTuple):
    method: str
    raw_target: bytes
    headers: list[tuple[bytes, bytes]]
    peer: str | None
    body: bytes | Reason


class Server:
    """A protocol whose requests are served, or go to an ASGI application, which does the same."""

    def __init__(self, *, served: bool, in_one_write: bool = False, reads: bool = True) -> None:
        self.seen: list[Seen] = []
        self.refusals: list[Any] = []
        self.in_one_write = in_one_write
        self.reads = reads
        self.fails: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        protocol_class = hardened_protocol(
            ProtocolLimits(),
            self.refusals.append,
            render,
            new_request_id=lambda: "request-1",
            serve=self.serve if served else None,
            is_served=lambda path: path != b"/portal",
        )
        config = Config(self.app, interface="asgi3", lifespan="off", ws="none", log_config=None)
        config.load()
        self.by_asgi = 0
        self.transport = MemoryTransport()
        self.state = ServerState()
        self.protocol: Any = protocol_class(config, self.state, {})
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.by_asgi += 1
        bare = {**scope, "extensions": {}}
        client = PortableClient(bare, receive, send)
        client.raw_target = scope["extensions"]["gateway.target"]
        await self.serve(client)

    async def serve(self, client: Client) -> None:
        head = client.method, client.raw_target, list(client.headers), client.peer
        body: bytes | Reason = b""
        try:
            is_more = self.reads
            while is_more:
                message = await client.receive()
                body, is_more = body + message["body"], message["more_body"]
        except Denied as denied:
            body = denied.reason
        self.seen.append(Seen(*head, body))
        await self.gate.wait()
        if self.fails is not None:
            raise self.fails
        answer = b"answer %d." % len(self.seen)
        length = b"%d" % len(answer)
        if self.in_one_write and client.respond(200, b"content-length: %b\r\n" % length, answer):
            return
        headers = [(b"content-length", length)]
        await client.send({"type": "http.response.start", "status": 200, "headers": headers})
        await client.send({"type": "http.response.body", "body": answer})

    async def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            if not self.transport.is_closing():
                self.protocol.data_received(piece)
            await settle()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


@given(
    st.lists(st.sampled_from([*REQUESTS, BROKEN]), min_size=1, max_size=6),
    st.lists(st.integers(0, 10_000), max_size=6),
    st.booleans(),
)
def test_both_forms_see_the_same_and_answer_the_same(
    requests: list[bytes], places: list[int], in_one_write: bool
) -> None:
    async def run(*, served: bool) -> tuple[list[Seen], bytes, list[str]]:
        server = Server(served=served, in_one_write=in_one_write)
        await server.feed(*cut(b"".join(requests), places))
        assert server.by_asgi == (0 if served else len(server.seen))
        return server.seen, server.transport.written, server.transport.deeds[-1:]

    async def compare() -> None:
        assert await run(served=True) == await run(served=False)

    asyncio.run(compare())


async def test_other_paths_go_to_the_application_and_may_take_turns_with_served_ones() -> None:
    server = Server(served=True)
    portal = b"GET /portal HTTP/1.1\r\nHost: h\r\n\r\n"
    await server.feed(REQUESTS[0], portal, REQUESTS[0], portal, portal, REQUESTS[0])
    assert [seen.raw_target for seen in server.seen] == [
        b"/a", b"/portal", b"/a", b"/portal", b"/portal", b"/a",
    ]  # fmt: skip
    assert server.by_asgi == 3


@pytest.mark.parametrize("failure", [RuntimeError("canary"), KeyboardInterrupt()])
@pytest.mark.parametrize("has_served", [False, True])
async def test_whoever_fails_is_answered_for_and_the_connection_ends(
    failure: BaseException, has_served: bool
) -> None:
    server = Server(served=True)
    if has_served:
        await server.feed(REQUESTS[0])
    server.fails = failure
    await server.feed(REQUESTS[0])
    assert server.transport.written.count(b"HTTP/1.1 500 ") == 1
    assert b"internal-error" in server.transport.written
    assert b"canary" not in server.transport.written
    assert server.transport.is_closing()
    assert [refusal.reason for refusal in server.refusals] == [Reason.INTERNAL_ERROR]


async def test_a_request_is_a_running_task_of_the_server_until_it_is_answered() -> None:
    """What the server waits for when it drains."""
    server = Server(served=True)
    for _ in range(2):
        server.gate.clear()
        await server.feed(REQUESTS[0])
        assert len(server.state.tasks) == 1
        server.gate.set()
        await settle()
        assert not server.state.tasks
    assert server.state.total_requests == 2


async def test_the_date_of_a_repeated_request_is_todays() -> None:
    server = Server(served=True, in_one_write=True, reads=False)
    for date in (b"yesterday", b"today"):
        server.state.default_headers = [(b"date", date)]
        await server.feed(REQUESTS[0])
    assert server.transport.written.index(b"date: yesterday") < server.transport.written.index(
        b"date: today"
    )
