"""A sink that may block -> one that never does: a bounded queue and a thread of its own."""

import asyncio
import errno
import logging
import queue
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Protocol

from gateway.edges.audit_commit import PATIENCE_SECONDS

_MOST_LINES = 100_000
_BATCH_LINES = 256
_RETRY_SECONDS = 0.25

_log = logging.getLogger(__name__)


class Writer(Protocol):
    """Takes lines off the left as they arrive. May block; raises OSError with the rest still in place."""

    def write(self, lines: deque[bytes]) -> None: ...

    def close(self) -> None: ...


class QueuedSink:
    """Lines arrive in order. What does not fit into the queue is dropped and counted.

    The thread is a daemon: one that hangs does not keep the process from ending.
    """

    def __init__(
        self,
        name: str,
        writer: Writer,
        *,
        required: bool,
        most_lines: int = _MOST_LINES,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.name = name
        self.required = required
        self.dropped = 0
        self._writer = writer
        self._most_lines = most_lines
        self._patience_seconds = patience_seconds
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._put = 0
        self._arrived = 0
        self._busy_since: float | None = None
        self._error = ""
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> str:
        """What is wrong; empty where lines arrive."""
        if self._error:
            return f"{self.name}: {self._error}"
        since = self._busy_since
        if since is not None and time.monotonic() - since > self._patience_seconds:
            return f"{self.name}: hangs"
        return ""

    def put(self, line: bytes) -> None:
        """Take a line, or count it as dropped."""
        if self._put - self._arrived >= self._most_lines:
            self.dropped += 1
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="audit-sink")
            self._thread.start()
        self._put += 1
        self._queue.put(line)

    async def settle(self) -> None:
        """Wait until all lines so far have arrived. Raises OSError in less than a second."""
        if self._arrived >= self._put:
            return
        if self.problem:  # others have waited for it already
            raise OSError(errno.EAGAIN, self.problem)
        self._loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = self._loop.create_future()
        target = self._put
        self._waiters.append((target, waiter))
        self._wake()  # the last line may have arrived in between
        try:
            async with asyncio.timeout(self._patience_seconds):
                await waiter
        except TimeoutError as late:
            if self._arrived >= target:  # the event loop was busy, not the sink
                return
            what = self.problem or f"{self.name}: does not answer"
            raise OSError(errno.EAGAIN, what) from late

    def _wake(self) -> None:
        while self._waiters and (
            self._waiters[0][0] <= self._arrived or self._waiters[0][1].done()
        ):
            _, waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _work(self) -> None:
        lines: deque[bytes] = deque()
        while True:
            line = self._queue.get()
            while line is not None:
                lines.append(line)
                if len(lines) >= _BATCH_LINES or self._queue.empty():
                    break
                line = self._queue.get()
            while lines and not self._deliver(lines):
                time.sleep(_RETRY_SECONDS)
            if line is None:
                self._writer.close()
                return

    def _deliver(self, lines: deque[bytes]) -> bool:
        count, self._busy_since = len(lines), time.monotonic()
        try:
            self._writer.write(lines)
        except OSError as error:
            text = error.strerror or str(error) or type(error).__name__
            if not self._error:
                _log.error("audit sink %s: %s", self.name, text)
            self._error = text
        else:
            if self._error:
                _log.warning("audit sink %s takes lines again", self.name)
            self._error = ""
        self._busy_since = None
        self._arrived += count - len(lines)
        if self._waiters and self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake)
        return not lines

    def close(self) -> None:
        """Deliver what there is, and end. Nobody waits for it longer than for a line."""
        if self._thread is None:
            self._writer.close()
            return
        self._queue.put(None)
        self._thread.join(self._patience_seconds)
