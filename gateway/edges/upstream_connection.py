"""One request head and body -> bytes on one connection to slurmrestd -> one Answer, or UpstreamFailed."""

import asyncio
import select
import socket
from collections.abc import Callable
from time import monotonic
from typing import Protocol, cast

from gateway.edges.late_writes import LateWrites
from gateway.edges.upstream_answer import Answer, Failure, Room, UpstreamFailed
from gateway.model import Body, Lease
from gateway.stages.forward import (
    FIRST_FINAL_STATUS,
    MAXIMUM_HEAD_BYTES,
    AnswerHead,
    HeadInvalid,
    could_be_head,
)

_PIECE_BYTES = 262_144
_MOST_INTERIM_ANSWERS = 4
_HEAD_END = b"\r\n\r\n"

Credential = tuple[str, str]
"""(user, token): on 20.11 the one that a connection was first used with is the one it acts as."""


class Owner(Protocol):
    """The pool, as a connection sees it."""

    def finished(
        self, connection: "UpstreamConnection", status: int, *, reusable: bool
    ) -> None: ...

    def lost(self, connection: "UpstreamConnection", *, by_us: bool) -> None: ...


class Waiter(Protocol):
    """Who waits for an answer: a Future, or whatever is told in its place."""

    def done(self) -> bool: ...

    def set_result(self, answer: Answer, /) -> None: ...

    def set_exception(self, error: UpstreamFailed, /) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """A kept connection, one exchange at a time; anything unexpected closes it.

    It is reusable only after a complete answer below 400 that keeps the connection, of the stated
    length, with nothing behind it: 26.05 sends errors twice, 22.05 and 24.11 add stray lines.
    """

    def __init__(
        self,
        owner: Owner,
        read_head: Callable[[bytes], AnswerHead],
        credential: Credential,
        generation: int,
        room: Room,
        *,
        late_writes: LateWrites,
    ) -> None:
        self.credential = credential
        self.generation = generation
        self.uses = 0
        self.idle_since = 0.0
        self.version = ""
        self._owner = owner
        self._read_head = read_head
        self._room = room
        self._late_writes = late_writes
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._poll = select.poll()
        self._closing = False
        self._waiter: Waiter | None = None
        self._answer: Answer | None = None
        self._partial = b""
        self._interims = 0
        self._remaining = 0
        self._sending = False
        self._drained: asyncio.Future[None] | None = None
        self._begun = 0.0
        self._paused = False
        self._deadline = 0.0
        self._moved = 0
        self._moved_before = 0
        self._moved_at = 0.0
        self.lease: Lease | None = None
        self.reserved = False

    # the exchange

    async def exchange(self, head: bytes, body: Body | None, first_byte_seconds: float) -> Answer:
        """Send one request and wait for the head of its answer. A cancelled wait closes the connection."""
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        try:
            if body is None:
                self.ask(head, waiter, first_byte_seconds)
            else:
                self._begin_request(waiter, first_byte_seconds)
                await self._send(head, body, waiter, first_byte_seconds)
            return await waiter
        except BaseException:
            self._forsake(waiter)
            raise

    def ask(self, head: bytes, waiter: Waiter, first_byte_seconds: float) -> None:
        """Send a request without a body. Raises UpstreamFailed where it ended before."""
        self._late_writes.add(self._begin_request(waiter, first_byte_seconds), head)

    def _begin_request(self, waiter: Waiter, first_byte_seconds: float) -> asyncio.Transport:
        transport = self._transport
        if self._closing or transport is None:
            raise UpstreamFailed(Failure.UNUSED)
        self.uses += 1
        self._waiter = waiter
        self._moved += 1
        self._begun = now = monotonic()
        self._deadline = now + first_byte_seconds
        return transport

    def forsake(self, waiter: object) -> None:
        """Nobody waits for the answer any more; bytes of it must never meet another request."""
        if self._waiter is waiter:
            self._waiter = None
            self.abort()

    async def _send(
        self,
        head: bytes,
        body: Body,
        waiter: "asyncio.Future[Answer]",
        first_byte_seconds: float,
    ) -> None:
        """Write head and body as the connection takes them; the wait for an answer begins behind them."""
        transport = cast("asyncio.Transport", self._transport)
        self._sending = True
        left = body.length
        piece = head + body.read(min(left, _PIECE_BYTES))
        left -= len(piece) - len(head)
        transport.write(piece)
        while left and not waiter.done() and not self._closing:
            if self._drained is not None:
                await self._drained
                continue
            piece = body.read(min(left, _PIECE_BYTES))
            if not piece:
                raise OSError("the spooled body is shorter than its length")
            left -= len(piece)
            self._moved += 1
            transport.write(piece)
        self._sending = bool(left)
        self._begun = monotonic()
        self._deadline = self._begun + first_byte_seconds

    def _forsake(self, waiter: "asyncio.Future[Answer]") -> None:
        """Nobody waits for the answer any more; bytes of it must never meet another request."""
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            waiter.result().close()
        else:
            self.forsake(waiter)

    def is_fresh(self) -> bool:
        """Neither closed nor readable: bytes or an end that wait here belong to no request of ours."""
        return not self._closing and not self._poll.poll(0)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Watch the descriptor too, for what the event loop has not read yet."""
        self._transport = cast("asyncio.Transport", transport)
        bare = transport.get_extra_info("socket")
        self._poll.register(bare.fileno(), select.POLLIN)
        if bare.family != socket.AF_UNIX:  # a host that vanished is noticed one day
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        """Head, body, or bytes that nobody asked for."""
        answer = self._answer
        if answer is not None:
            self._body_received(answer, data)
        elif self._waiter is not None and not self._closing:
            self._head_received(data)
        else:
            self.abort()

    def _head_received(self, data: bytes) -> None:
        if self._partial:
            data = self._partial + data
        while True:
            end = data.find(_HEAD_END) + 4
            if end < len(_HEAD_END):
                self._keep_partial(data)
                return
            try:
                head = self._read_head(data[:end])
            except HeadInvalid as error:
                self._fail(Failure.INVALID, str(error))
                return
            data = data[end:]
            if head.status >= FIRST_FINAL_STATUS:
                break
            self._interims += 1
            if self._interims > _MOST_INTERIM_ANSWERS:
                self._fail(Failure.INVALID, "too many interim answers")
                return
        self._partial = b""
        self._begin(head, data)

    def _keep_partial(self, data: bytes) -> None:
        if len(data) > MAXIMUM_HEAD_BYTES or not could_be_head(data):
            self._fail(Failure.INVALID, "not an answer's head")
            return
        self._partial = data

    def _begin(self, head: AnswerHead, data: bytes) -> None:
        """The head is read; most answers are whole with it."""
        waiter = self._waiter
        if waiter is None or waiter.done():  # cancelled, and its task has not run yet
            self.abort()
            return
        more = head.length - len(data)
        if more <= 0:
            answer = Answer(head, data if not more else data[: head.length])
            self.idle_since = now = monotonic()
            answer.seconds = now - self._begun
            answer.came_straight = True
            self._end(head, intact=not more)
            waiter.set_result(answer)
            return
        self._answer = answer = self._room.answer(head, self)
        self._remaining = head.length
        waiter.set_result(answer)
        self._moved += 1
        self._wake_sender()
        if data:
            self._body_received(answer, data)

    def _body_received(self, answer: Answer, data: bytes) -> None:
        self._moved += 1
        more = self._remaining - len(data)
        if more > 0:
            self._remaining = more
            answer.feed(data)
            return
        answer.feed(data if not more else data[: self._remaining])
        self.idle_since = now = monotonic()
        answer.finish(now - self._begun)
        self._end(answer.head, intact=not more)

    def _end(self, head: AnswerHead, *, intact: bool) -> None:
        """The answer is complete; the owner keeps the connection or closes it."""
        self._waiter = self._answer = None
        self._interims = 0
        if self._paused:
            self.resume()
        reusable = intact and head.keep_alive and not self._sending and not self._closing
        if self._drained is not None:
            self._wake_sender()
        self._owner.finished(self, head.status, reusable=reusable)

    def connection_lost(self, error: Exception | None) -> None:
        """Whatever was still awaited will not come."""
        by_us, self._closing = self._closing, True
        began = bool(self._partial or self._interims or self._answer)
        self._fail(Failure.CUT if began else Failure.LOST, type(error).__name__ if error else "")
        self._owner.lost(self, by_us=by_us)

    def pause_writing(self) -> None:
        """The transport holds enough of the body."""
        self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """The transport takes more."""
        self._wake_sender()

    def _wake_sender(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # what an Answer asks for

    def pause(self) -> None:
        """The reader has enough: leave the rest to the kernel and to slurmrestd."""
        self._paused = True
        if not self._closing:
            cast("asyncio.Transport", self._transport).pause_reading()

    def resume(self) -> None:
        """The reader takes more."""
        self._paused = False
        self._moved += 1
        if not self._closing:
            cast("asyncio.Transport", self._transport).resume_reading()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self.close()
        self._fail(Failure.CUT)

    def close(self) -> None:
        """Close without waiting; the event loop calls connection_lost."""
        if not self._closing:
            self._closing = True
            if self._transport is not None:
                self._transport.abort()

    def _fail(self, failure: Failure, note: str = "") -> None:
        """Tell whoever waits that no whole answer will come."""
        waiter, answer = self._waiter, self._answer
        self._waiter = self._answer = None
        self.close()
        self._wake_sender()
        if answer is None and waiter is None:
            return
        error = UpstreamFailed(failure, note, reused=self.uses > 1)
        if answer is not None:
            answer.fail(error)
        elif waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def check(self, now: float, idle_seconds: float) -> None:
        """Called by the owner now and then: end what has been silent for too long.

        One look at a counter here replaces a timer for each request.
        """
        if self._moved != self._moved_before or self._paused:
            self._moved_before, self._moved_at = self._moved, now
        if self._answer is not None:
            if now - self._moved_at > idle_seconds:
                self._fail(Failure.STALLED)
        elif self._sending:
            if now - self._moved_at > idle_seconds:
                self._fail(Failure.SILENT)
        elif self._waiter is not None and now > self._deadline:
            self._fail(Failure.SILENT)
