"""One read, repeated on several connections at once, in one process without sockets -> microseconds each.

What a gateway under load does for each request besides reading and writing sockets: every stage, both
audit lines and slurmrestd's answer among them. Lines are written to a real file, once a turn.
"""

import asyncio
import socket
import time
from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from gateway.app import Generation
from gateway.app_running import Application
from gateway.edges.upstream_connection import Credential, UpstreamConnection
from gateway.web.server import asgi3

ROUNDS = 60
WARM_UP = 5


class Wire(asyncio.Transport):
    """A client's connection that takes every byte and has none to give."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Drop them."""

    def is_closing(self) -> bool:
        """Stay open."""
        return False

    def close(self) -> None:
        """Have nothing to close, when the server ends an idle connection."""

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Tell the addresses that the server asks for."""
        addresses = {"peername": ("127.0.0.1", 50_000), "sockname": ("127.0.0.1", 8443)}
        return addresses.get(name, default)


class InstantSlurmrestd(asyncio.Transport):
    """A kept connection to a slurmrestd that answers in the next turn of the event loop."""

    def __init__(self, protocol: UpstreamConnection, answer: bytes) -> None:
        self._protocol = protocol
        self._answer = answer
        self._pair = socket.socketpair()
        self._loop = asyncio.get_running_loop()

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Show a socket that nothing waits in."""
        return self._pair[0] if name == "socket" else default

    def is_closing(self) -> bool:
        """Stay open."""
        return False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Answer."""
        del data
        self._loop.call_soon(self._protocol.data_received, self._answer)

    def abort(self) -> None:
        """End with the process that measures."""
        for end in self._pair:
            end.close()


def connect_instantly(generation: Generation, answer: bytes) -> None:
    """Have the pool open connections to nobody, which may be shared."""
    pool = generation.upstream.pool

    async def connect(credential: Credential, number: int) -> UpstreamConnection:
        connection = UpstreamConnection(
            pool,
            pool._read_head,  # noqa: SLF001 - as the pool makes its own
            credential,
            number,
            pool._room,  # noqa: SLF001
            late_writes=pool._late_writes,  # noqa: SLF001
        )
        connection.connection_made(InstantSlurmrestd(connection, answer))
        return connection

    pool._connect = connect  # type: ignore[method-assign,assignment]  # noqa: SLF001 - there is no other way in
    pool.is_shared = True


def server_connections(application: Application, count: int) -> list[HttpToolsProtocol]:
    """Connections of clients to the server's own protocol."""
    config = asgi3(application)
    config.load()
    protocol, state, loop = application.protocol(), ServerState(), asyncio.get_running_loop()
    connections = [protocol(config, state, {}, loop) for _ in range(count)]
    for connection in connections:
        connection.connection_made(Wire())
    return connections


async def repeat(
    connections: Sequence[HttpToolsProtocol], requests: Sequence[bytes], times: int
) -> None:
    """Send a request on each of them, wait for all answers, and again; the requests take turns."""
    for turn in range(times):
        for number, connection in enumerate(connections):
            connection.data_received(requests[(number + turn) % len(requests)])
        # the server has no event for it
        while not all(connection.cycle.response_complete for connection in connections):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def microseconds(
    connections: Sequence[HttpToolsProtocol], requests: Sequence[bytes], count: int
) -> float:
    """Return the CPU time of one request, of the round that was disturbed least."""
    times = max(1, count // len(connections) // ROUNDS)
    await repeat(connections, requests, WARM_UP * len(requests))
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.thread_time()
        await repeat(connections, requests, times)
        best = min(best, (time.thread_time() - started) / times / len(connections) * 1e6)
    return best
