"""Lines of the audit -> standard output, or another descriptor that somebody reads, without ever blocking."""

import asyncio
import errno
import os
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from gateway.audit.sinks import Turn
from gateway.edges.audit_commit import PATIENCE_SECONDS

_MOST_LEFT_BYTES = 4_194_304
_TICK_SECONDS = 0.005


class StdoutSink:
    """What a slow reader leaves in this process is waited for; what is not read in time is a failure."""

    size = 0
    room_to = sys.maxsize
    may_lag = True

    def __init__(
        self, descriptor: int | None = None, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._send = _sender(sys.stdout.fileno() if descriptor is None else descriptor)
        self._patience_seconds = patience_seconds
        self._left = bytearray()

    @property
    def lags(self) -> bool:
        """Whether the reader is behind."""
        return bool(self._left)

    def begin(self, problem: str = "") -> Turn | None:
        """Nothing to begin."""

    def write(self, lines: Sequence[bytes]) -> int:
        """Hand them to the kernel, or keep what it does not take now. Raises OSError."""
        data, taken = b"".join(lines), 0
        if self._left:
            if len(self._left) > _MOST_LEFT_BYTES:
                raise OSError(errno.ETIMEDOUT, "nobody reads standard output")
        else:
            with suppress(BlockingIOError):
                taken = self._send(data)
        if taken < len(data):
            self._left += data[taken:]
        return len(lines)

    def make_room(self, count: int) -> None:
        """A stream has no room of its own."""

    def look(self) -> Turn | None:
        """Nothing to see."""
        return None

    rotate = look

    def repair(self) -> Turn | None:
        """Raise OSError where the reader is still behind or away."""
        self._drain()
        if self._left:
            raise OSError(errno.ETIMEDOUT, "nobody reads standard output")
        self._send(b"")
        return None

    async def settle(self, *, durable: bool) -> None:  # noqa: ARG002 (a stream knows no more than this)
        """Wait for the reader. Raises OSError, ETIMEDOUT where it does not read."""
        if not self._left:
            return
        try:
            async with asyncio.timeout(self._patience_seconds):
                while self._left:
                    await asyncio.sleep(_TICK_SECONDS)
                    self._drain()
        except TimeoutError as late:
            self._drain()
            if not self._left:  # the event loop was busy, not the reader
                return
            raise OSError(errno.ETIMEDOUT, "nobody reads standard output") from late

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while self._left:
                del self._left[: self._send(bytes(self._left[:65_536]))]

    def close(self) -> None:
        """Hand over what the reader takes at once."""
        with suppress(OSError):
            self._drain()


def _sender(descriptor: int) -> Callable[[bytes], int]:
    """A write that raises BlockingIOError instead of waiting.

    Standard output is shared with whoever started the gateway, so its flags are left alone: a pipe is
    opened a second time, and a socket is told with each call.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        connected = socket.socket(fileno=os.dup(descriptor))
        return lambda data: connected.send(data, socket.MSG_DONTWAIT)
    if stat.S_ISFIFO(mode):
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(f"/proc/self/fd/{descriptor}", flags)
    return lambda data: os.write(descriptor, data)
