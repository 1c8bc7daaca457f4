"""One request of a connection and its answer: uvicorn's cycle, with faults and failures said our way."""

import asyncio
from collections.abc import Callable

from uvicorn._types import ASGI3Application, ASGIReceiveEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from gateway.denial import Denied, Reason
from gateway.edges.late_writes import LateWrites

Problem = tuple[int, list[tuple[bytes, bytes]], bytes]
"""(status, headers as ASGI has them, body)."""


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


class Exchange(RequestResponseCycle):
    """`fault` is what turned out to be wrong with the request's body.

    `report` is called for an application that failed, with the refusal, the method and the path,
    and returns the problem document to send.
    """

    fault: Denied | None = None
    report: Callable[[Denied, str, str], Problem]
    write_late: Callable[[bytes], None]

    async def run_asgi(self, app: ASGI3Application) -> None:
        """As uvicorn has it; then let go of itself.

        The scope offers `respond`, and so this exchange: a circle that only the garbage collector
        would open, hundreds of times a second.
        """
        try:
            await super().run_asgi(app)
        finally:
            extensions = self.scope.get("extensions")
            if extensions is not None:
                extensions.pop("gateway.respond", None)

    async def receive(self) -> ASGIReceiveEvent:
        """As ASGI has it; raises `fault` as soon as there is one."""
        if self.fault is None:
            message = await super().receive()
        if self.fault is not None:
            raise self.fault
        return message

    def respond(self, status: int, lines: bytes, body: bytes) -> bool:
        """A whole answer in one write, which costs the half of three messages through `send`.

        `lines` are complete header lines, Content-Length among them. False, and nothing is done,
        where it has to go by `send`: earlier bytes still wait for the client, or it has gone.
        """
        if self.response_started or self.flow.write_paused or self.disconnected:
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        first = [b"%b: %b\r\n" % pair for pair in self.default_headers]
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        data = b"".join([STATUS_LINE[status], *first, lines, end, body])
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
        path = self.scope["raw_path"].decode("ascii")
        status, headers, body = self.report(denied, self.scope["method"], path)
        fields = [*headers, (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": status, "headers": fields})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})
