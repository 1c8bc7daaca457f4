"""Pieces of one answer's body from slurmrestd -> a reader of any speed, with bounded memory."""

import asyncio
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall, Lease
from gateway.stages.forward import AnswerHead, may_change_state

_SMALL_BUFFER_BYTES = 1_048_576
"""For answers that do not fit: a larger buffer would gain nothing."""


class Failure(Enum):
    """How a connection to slurmrestd ends without a whole answer."""

    UNUSED = "the connection ended before the request was sent"
    LOST = "the connection broke before any byte of an answer"
    CUT = "the connection broke inside the answer"
    INVALID = "the answer could not be read"
    SILENT = "no answer in time"
    STALLED = "the answer stopped in the middle"


_REASONS = {
    Failure.UNUSED: Reason.UPSTREAM_UNREACHABLE,
    Failure.LOST: Reason.UPSTREAM_UNREACHABLE,
    Failure.CUT: Reason.UPSTREAM_INVALID,
    Failure.INVALID: Reason.UPSTREAM_INVALID,
    Failure.SILENT: Reason.UPSTREAM_TIMEOUT,
    Failure.STALLED: Reason.UPSTREAM_TIMEOUT,
}


class UpstreamFailed(Exception):
    """No whole answer. `reused` tells that the connection had served before, so it may have been stale."""

    def __init__(self, failure: Failure, note: str = "", *, reused: bool = False) -> None:
        super().__init__(note or failure.value)
        self.failure = failure
        self.reused = reused


class Source(Protocol):
    """Where an answer comes from while it is not whole."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None: ...


class Answer:
    """One answer. `whole` is its body where that came with the head; otherwise `read` gives pieces.

    `seconds` is the time from the request's last byte to the answer's, 0.0 until then. `note` is for
    the audit.
    """

    seconds = 0.0
    note = ""
    came_straight = False
    """As slurmrestd gave it, whole and at once; never what the gateway has made or changed itself."""
    lease: Lease | None = None
    """Given back when it is closed, where nobody else does so."""
    _source: Source | None = None
    _room: "Room | None" = None
    _then: Callable[[], None] | None = None
    _buffered = 0
    _paused = False
    _waiter: asyncio.Future[None] | None = None
    _error: UpstreamFailed | None = None

    def __init__(
        self,
        head: AnswerHead,
        whole: bytes | None,
        source: Source | None = None,
        most: int = 0,
        room: "Room | None" = None,
    ) -> None:
        self.head = head
        self.whole = whole
        if whole is not None:
            return
        self._source = source
        self._room = room
        self._most = most
        self._low = most // 2
        self._pieces: deque[bytes] = deque()

    @property
    def is_over(self) -> bool:
        """Nothing is left to be read: what was read last was the end."""
        if self.whole is not None:
            return True
        return self._source is None and not self._pieces and self._error is None

    @property
    def is_arriving(self) -> bool:
        """slurmrestd is still sending, so that the answer holds a connection."""
        return self._source is not None

    @property
    def waits_for_reader(self) -> bool:
        """It did not get room for all of it, so that a slow reader holds the connection."""
        return self.whole is None and self._room is None

    def when_arrived(self, then: Callable[[], None]) -> None:
        """Call `then` when slurmrestd has sent all of it, which may be now."""
        if self._source is None:
            then()
        else:
            self._then = then

    async def read(self) -> bytes:
        """The next piece, b"" at the end. Raises UpstreamFailed where the rest will never come."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._source is None:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        piece = self._pieces.popleft()
        self._buffered -= len(piece)
        if self._paused and self._buffered <= self._low and self._source is not None:
            self._paused = False
            self._source.resume()
        return piece

    async def read_all(self, most: int) -> bool:
        """Make it `whole` if it has at most `most` bytes; otherwise leave it to be streamed."""
        if self.whole is not None:
            return True
        if self.head.length > most:
            return False
        pieces = []
        while piece := await self.read():
            pieces.append(piece)
        self.whole = b"".join(pieces)
        self._free()
        return True

    def close(self) -> None:
        """Nobody wants the rest: an answer that is still arriving loses its connection."""
        if self._source is not None:
            self._source.abort()
        if self.lease is not None:
            self.lease.release()
        self._free()

    def _free(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.give_back(self.head.length)

    def feed(self, piece: bytes) -> None:
        """Called by the connection with bytes of the body."""
        self._pieces.append(piece)
        self._buffered += len(piece)
        if self._buffered > self._most and not self._paused and self._source is not None:
            self._paused = True
            self._source.pause()
        self._wake()

    def finish(self, seconds: float) -> None:
        """Called by the connection after the last byte."""
        self.seconds = seconds
        self._source = None
        self._wake()
        if self._then is not None:
            self._then()

    def fail(self, error: UpstreamFailed) -> None:
        """Called by the connection when the rest will never come."""
        self._source = None
        self._error = error
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


class Room:
    """The memory that answers may take while they wait for their readers.

    An answer of up to `each_bytes` gets room for all of it, as long as there is some of `all_bytes`
    left, so that it leaves slurmrestd at once. Others get a small buffer and wait for the reader.
    """

    def __init__(self, each_bytes: int, all_bytes: int) -> None:
        self._each = each_bytes
        self._left = all_bytes

    def answer(self, head: AnswerHead, source: Source) -> Answer:
        """A new answer whose body is still to come."""
        if head.length <= min(self._each, self._left):
            self._left -= head.length
            return Answer(head, None, source, head.length, self)
        return Answer(head, None, source, min(self._each, _SMALL_BUFFER_BYTES))

    def give_back(self, size: int) -> None:
        """That many bytes are free again."""
        self._left += size


def outcome(call: AuthorizedCall, word: str) -> dict[str, object]:
    """What a problem document says about a write that has no answer of slurmrestd."""
    return {"outcome": word} if may_change_state(call) else {}


def denied(failure: UpstreamFailed, call: AuthorizedCall) -> Denied:
    """502 or 504; a write that was sent may have run."""
    known = "not-run" if failure.failure is Failure.UNUSED else "unknown"
    return Denied(
        _REASONS[failure.failure],
        f"{failure.failure.value}: {failure}",
        members=outcome(call, known),
    )
