"""A blocking function that makes lines durable -> something that many wait for, and that runs for all at once."""

import asyncio
import errno
import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

PATIENCE_SECONDS = 0.8
"""How long anybody waits for a disk, so that a client hears within a second that it hangs."""
_TICK_SECONDS = 0.1

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Group:
    """Those that one run serves. The thread writes `error`, then `is_finished`."""

    waiters: list[asyncio.Future[None]] = field(default_factory=list)
    began: float | None = None
    is_finished: bool = False
    error: OSError | None = None

    def hangs(self, patience_seconds: float) -> bool:
        began = self.began
        return (
            began is not None
            and not self.is_finished
            and time.monotonic() - began > patience_seconds
        )


class GroupCommit:
    """Whoever waits is served by a run that begins after. One thread; while it runs, the next group gathers.

    The thread is a daemon: one that hangs in the kernel does not keep the process from ending. What
    counts is how long the thread has taken: an event loop that was busy is no sign of a slow disk.
    """

    def __init__(
        self, commit: Callable[[], None], patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._commit = commit
        self._patience_seconds = patience_seconds
        self._gathering = _Group()
        self._running: _Group | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def hangs(self) -> bool:
        """Whether the run under way takes longer than anybody waits."""
        return self._running is not None and self._running.hangs(self._patience_seconds)

    async def wait(self) -> None:
        """Return when a run that begins from now on has succeeded. Raises its OSError, or ETIMEDOUT."""
        if self._is_closed:
            raise OSError(errno.EBADF, "it is closed")
        loop = asyncio.get_running_loop()
        group, waiter = self._gathering, loop.create_future()
        group.waiters.append(waiter)
        if len(group.waiters) == 1 and self._running is None:
            loop.call_soon(self._start, loop)  # those of this turn of the loop come along
        while not group.is_finished:
            await asyncio.wait((waiter,), timeout=_TICK_SECONDS)
            if self.hangs:
                raise OSError(errno.ETIMEDOUT, "the disk does not answer")
        if group.error is not None:
            raise OSError(group.error.errno, group.error.strerror)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._running is not None or not self._gathering.waiters:
            return
        group, self._gathering = self._gathering, _Group()
        self._running = group
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="audit-commit")
            self._thread.start()
        self._jobs.put(lambda: self._run(loop, group))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _run(self, loop: asyncio.AbstractEventLoop, group: _Group) -> None:
        group.began = time.monotonic()
        try:
            self._commit()
        except OSError as error:
            group.error = error
        except Exception as error:  # noqa: BLE001 (the thread goes on, and nothing is said to be on disk)
            _log.exception("a commit failed")
            group.error = OSError(errno.EIO, type(error).__name__)
        group.is_finished = True
        with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(self._finish, loop, group)

    def _finish(self, loop: asyncio.AbstractEventLoop, group: _Group) -> None:
        self._running = None
        for waiter in group.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._start(loop)

    def close(self, last: Callable[[], None]) -> None:
        """Run `last` when all else is done, in the thread if there is one, and wait for nothing."""
        self._is_closed = True
        if self._thread is None:
            last()
            return
        self._jobs.put(last)
        self._jobs.put(None)
