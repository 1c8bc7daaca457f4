"""One request of a connection and its answer: uvicorn's cycle, with faults and failures said our way.

It is the gateway's own Client (client.py): what is served by a visit passes no ASGI message unless its
answer is streamed. It is an ASGI cycle too, for the applications behind the other paths.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, Self

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from gateway.denial import Denied, Reason
from gateway.edges.late_writes import LateWrites
from gateway.web.client import Client
from gateway.web.gone import GONE
from gateway.web.head_memo import HeadMemo

Problem = tuple[int, list[tuple[bytes, bytes]], bytes]
"""(status, headers as ASGI has them, body)."""

Serve = Callable[[Client], Awaitable[None]]


class Outlet:
    """What an Exchange may do with the transport; closing is the protocol's decision.

    What goes out at once, or ends the connection, goes behind what waits for the end of the turn:
    a pipelined refusal must not overtake the answer before it.
    """

    __slots__ = ("_finish", "_late_writes", "_transport", "is_closing")

    def __init__(
        self, transport: asyncio.Transport, finish: Callable[[], None], late_writes: LateWrites
    ) -> None:
        self._transport = transport
        self._finish = finish
        self._late_writes = late_writes
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Now."""
        self._late_writes.flush()
        self._transport.write(data)

    def write_late(self, data: bytes) -> None:
        """At the end of this turn of the event loop."""
        self._late_writes.add(self._transport, data)

    def close(self) -> None:
        """After an answer."""
        self._late_writes.flush()
        self._finish()

    def abort(self) -> None:
        """At once, whatever still waits."""
        self._transport.abort()

    def let_go(self) -> None:
        """The connection has ended: free what it was made of."""
        self._transport = GONE
        self.is_closing = GONE.is_closing


class DefaultLines:
    """The header lines that the server adds to every answer, rendered when there are new ones: once a second."""

    __slots__ = ("_headers", "_lines")

    def __init__(self) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._lines = b""

    def render(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """`headers` is another list when it says anything else."""
        if headers is not self._headers:
            self._headers = headers
            self._lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        return self._lines


class Connection(NamedTuple):
    """What all exchanges of one connection share."""

    app: ASGI3Application
    write_late: Callable[[bytes], None]
    report: Callable[[Denied, str, str], Problem]
    """Called for an application that failed, with the refusal, the method and the path; returns the
    problem document to send."""
    abort: Callable[[], None]
    task: Callable[[], asyncio.Task[Any] | None]
    watch: Callable[[Callable[[], None]], None]
    unwatch: Callable[[], None]
    start: Callable[["Exchange"], None]
    """Run an exchange in the connection's task."""
    default_lines: Callable[[list[tuple[bytes, bytes]]], bytes]
    """Renders the header lines of every answer."""
    protocol: HttpToolsProtocol
    outlet: asyncio.Transport
    event: asyncio.Event
    serve: Serve | None
    on_response: Callable[[], None]

    def exchange(self) -> "Exchange":
        """A new one, for a proxied request that is whole with its head, and after which the connection stays."""
        protocol = self.protocol
        exchange = Exchange(
            scope=protocol.scope,
            transport=self.outlet,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=self.event,
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response,
        )
        exchange.join(self)
        exchange.more_body = False
        return exchange


class Exchange(RequestResponseCycle):
    """`fault` is what turned out to be wrong with the request's body.

    `serve` takes it instead of the ASGI application, where it is set.
    """

    fault: Denied | None = None
    is_cut = False
    serve: Serve | None = None
    method: str
    raw_target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    peer: str | None
    memo: HeadMemo

    def join(self, connection: Connection) -> None:
        """Take over what the connection has; once, before anything else."""
        self.app, self.write_late, self.report = connection[:3]
        self.abort, self.task, self.watch, self.unwatch, self.start = connection[3:8]
        self.default_lines, self.serve = connection.default_lines, connection.serve

    def again(self) -> Self:
        """A new exchange for the same head. Copied before it has begun, it has nothing of its own."""
        twin = self.__class__.__new__(self.__class__)
        twin.__dict__ = self.__dict__.copy()
        return twin

    def run(self) -> Awaitable[None]:
        """Have the request answered."""
        return self.run_asgi(self.app) if self.serve is None else self.serve(self)

    async def fail(self, error: BaseException) -> None:
        """Whoever served has failed; the connection ends with a problem document, if there is time for one."""
        self.logger.error(
            "a request failed: %s", type(error).__name__
        )  # its text may hold anything
        if self.response_started:
            self.transport.close()
        else:
            await self.send_500_response()

    async def run_asgi(self, app: ASGI3Application) -> None:
        """As uvicorn has it; then let go of itself.

        The scope offers this exchange: a circle that only the garbage collector would open.
        """
        extensions: Any = {"gateway.target": self.raw_target, "gateway.client": self}
        self.scope = self.scope.copy()
        self.scope["extensions"] = extensions
        try:
            await super().run_asgi(app)
        finally:
            extensions.pop("gateway.client")

    async def receive(self) -> Any:
        """As ASGI has it; raises `fault` as soon as there is one."""
        if self.fault is None:
            message = await super().receive()
        if self.fault is not None:
            raise self.fault
        return message

    async def send(self, message: Any) -> None:
        """As ASGI has it."""
        await super().send(message)

    def is_ready(self) -> bool:
        """Whether `respond` would be done: no earlier bytes wait for the client, and it is there."""
        return not (self.response_started or self.flow.write_paused or self.disconnected)

    def hand_over(self, serve: Serve, /) -> None:
        """Have a task serve what callbacks have served so far."""
        self.serve = serve
        self.start(self)

    def respond(self, status: int, lines: bytes, body: bytes, /) -> bool:
        """A whole answer in one write, which costs the half of three messages through `send`.

        `lines` are complete header lines, Content-Length among them. False, and nothing is done,
        where it has to go by `send`: earlier bytes still wait for the client, or it has gone.
        """
        if self.response_started or self.flow.write_paused or self.disconnected:
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        first = self.default_lines(self.default_headers)
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        data = b"".join((STATUS_LINE[status], first, lines, end, body))
        self.message_event.set()
        if self.keep_alive:
            self.write_late(data)
        else:
            self.transport.write(data)
            self.transport.close()
        self.on_response()
        return True

    async def send_500_response(self) -> None:
        """A problem document in the place of uvicorn's line of text.

        A request that the server itself cuts off, because it stops, has been recorded as such.
        """
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            self.transport.close()
            return
        denied = Denied(Reason.INTERNAL_ERROR, "unhandled exception")
        path = self.raw_target.partition(b"?")[0].decode("ascii")
        status, headers, body = self.report(denied, self.method, path)
        fields = [*headers, (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": status, "headers": fields})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
