"""A client that asks and never reads -> its connection ends in time, and so does whatever waits for it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.web.configured_protocol import ProtocolLimits, hardened_protocol
from gateway.web.listening import bind
from gateway.web.problems import render
from gateway.web.server import Listener

ON_BOTH_LOOPS = True
IMPATIENT = ProtocolLimits(write_seconds=0.3)
LARGE = b"x" * 8_000_000
SMALL = b"x" * 100_000


async def _answer(scope: Any, receive: Any, send: Any) -> None:
    body = LARGE if scope["path"] == "/large" else SMALL
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def _listening(limits: ProtocolLimits, keep_alive_seconds: float) -> AsyncIterator[Listener]:
    protocol = hardened_protocol(limits, lambda _: None, render)
    listener = Listener(
        "test",
        bind("127.0.0.1:0", 0o600),
        _answer,
        protocol=protocol,
        keep_alive_seconds=keep_alive_seconds,
    )
    await listener.begin()
    try:
        yield listener
    finally:
        await listener.stop(0.1)


async def _deaf_client(listener: Listener, request: bytes) -> socket.socket:
    """A socket that takes as little as a socket can."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    host, _, port = listener.address.rpartition(":")
    await loop.sock_connect(client, (host, int(port)))
    await loop.sock_sendall(client, request)
    return client


async def _becomes_empty(things: Any, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while things():  # noqa: ASYNC110  # uvicorn tells nobody
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "request_head",
    [
        pytest.param(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n", id="kept-open"),
        pytest.param(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", id="closing"),
        pytest.param(b"GET /large HTTP/1.0\r\nHost: h\r\n\r\n", id="http-1.0"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * 200, id="pipelined"),
        pytest.param(
            b"GET /large HTTP/1.1\r\nHost: h\r\n\r\nGET http://x/ HTTP/1.1\r\n\r\n", id="refused"
        ),
    ],
)
async def test_a_client_that_never_reads_is_cut_off(request_head: bytes) -> None:
    """Otherwise some thousand of them would take all connections, without a token, for ever."""
    async with _listening(IMPATIENT, keep_alive_seconds=1) as listener:
        client = await _deaf_client(listener, request_head)
        await _becomes_empty(lambda: not listener.connections)
        assert listener.connections == 1
        await _becomes_empty(lambda: listener.connections)
        await _becomes_empty(lambda: listener.server_state.tasks)
        client.close()


@pytest.mark.parametrize("closes", [b"", b"Connection: close\r\n"], ids=["idle", "closing"])
async def test_a_closed_connection_does_not_wait_for_ever_to_be_read(closes: bytes) -> None:
    """What is left is so little that the transport never asks for a pause."""
    async with _listening(IMPATIENT, keep_alive_seconds=1) as listener:
        client = await _deaf_client(listener, b"")
        await _becomes_empty(lambda: not listener.connections)
        for connection in listener.server_state.connections:
            transport: Any = connection.transport
            transport.set_write_buffer_limits(high=2 * len(LARGE))
        request = b"GET /large HTTP/1.1\r\nHost: h\r\n" + closes + b"\r\n"
        await asyncio.get_running_loop().sock_sendall(client, request)
        await _becomes_empty(lambda: listener.connections)
        client.close()


async def test_a_client_that_reads_on_gets_all_of_it() -> None:
    """The time counts from when it stopped, not from when it began."""
    async with _listening(ProtocolLimits(write_seconds=1.0), keep_alive_seconds=5) as listener:
        host, _, port = listener.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1_000_000)
        count = 300
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n" * count)
        loop = asyncio.get_running_loop()
        began, received = loop.time(), 0
        while received < count * len(SMALL):
            piece = await reader.read(1_000_000)
            assert piece, "cut off"
            received += len(piece)
            await asyncio.sleep(0.05)
        assert loop.time() - began > 1.2
        writer.close()
