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
_GATHERING_SECONDS = 0.001
"""How long a group may go on growing; without other work in the event loop it is closed at once."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Group:
    """Those that one run serves. The thread writes `error`, then `is_finished`."""

    waiters: list[asyncio.Future[int]] = field(default_factory=list)
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

    def fail(self, error: OSError) -> None:
        """Each hears of it by an object of its own: one for all would gather everybody's traceback."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(OSError(error.errno, error.strerror))

    def succeed(self, number: int) -> None:
        """`number` is the run that has served them."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(number)


class GroupCommit:
    """Whoever waits is served by a run that begins after. One thread; while it runs, the next group gathers.

    A group is closed by the first turn of the event loop that brings nobody more: a run costs nearly
    the same whether one waits for it or twenty, and what it costs is near to what a request does.

    The thread is a daemon: one that hangs in the kernel does not keep the process from ending. What
    counts is how long the thread has taken: an event loop that was busy is no sign of a slow disk.
    """

    def __init__(
        self,
        commit: Callable[[], None],
        patience_seconds: float = PATIENCE_SECONDS,
        gathering_seconds: float = _GATHERING_SECONDS,
    ) -> None:
        self._commit = commit
        self._gathering_seconds = gathering_seconds
        self._patience_seconds = patience_seconds
        self._gathering = _Group()
        self._running: _Group | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._runs = 0
        self._is_watched = False
        self._is_closed = False

    @property
    def hangs(self) -> bool:
        """Whether the run under way takes longer than anybody waits."""
        return self._running is not None and self._running.hangs(self._patience_seconds)

    async def wait(self) -> int:
        """Return when a run that begins from now on has succeeded: its number, the same for all it served.

        Raises its OSError, or ETIMEDOUT.
        """
        if self._is_closed:
            raise OSError(errno.EBADF, "it is closed")
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[int] = loop.create_future()
        waiters = self._gathering.waiters
        waiters.append(waiter)
        if len(waiters) == 1 and self._running is None:
            self._gather(loop)
        return await waiter

    def _gather(self, loop: asyncio.AbstractEventLoop) -> None:
        until = time.monotonic() + self._gathering_seconds
        loop.call_soon(self._start_if_all_came, loop, len(self._gathering.waiters), until)

    def _start_if_all_came(self, loop: asyncio.AbstractEventLoop, seen: int, until: float) -> None:
        """Run if this turn of the loop has brought nobody more; otherwise look again after the next."""
        count = len(self._gathering.waiters)
        if count > seen and time.monotonic() < until:
            loop.call_soon(self._start_if_all_came, loop, count, until)
        else:
            self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        group, self._gathering = self._gathering, _Group()
        self._running = group
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="audit-commit")
            self._thread.start()
        self._jobs.put(lambda: self._run(loop, group))
        if not self._is_watched:
            self._is_watched = True
            loop.call_later(_TICK_SECONDS, self._watch, loop)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """One timer for all: whoever waits for a run that hangs hears of it."""
        running = self._running
        if running is None:
            self._is_watched = False
            return
        if self.hangs:
            waiting, self._gathering = self._gathering, _Group()
            for group in (running, waiting):
                group.fail(OSError(errno.ETIMEDOUT, "the disk does not answer"))
        loop.call_later(_TICK_SECONDS, self._watch, loop)

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
        self._runs += 1
        if group.error is None:
            group.succeed(self._runs)
        else:
            group.fail(group.error)
        if self._gathering.waiters:
            self._gather(loop)

    def close(self, last: Callable[[], None]) -> None:
        """Run `last` when all else is done, in the thread if there is one, and wait for nothing."""
        self._is_closed = True
        if self._thread is None:
            last()
            return
        self._jobs.put(last)
        self._jobs.put(None)
