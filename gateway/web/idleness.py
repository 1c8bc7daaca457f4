"""The ends of a connection's answers -> one call when nothing has come for a while, by one timer for all of them."""

import asyncio
from collections.abc import Callable


class Idleness:
    """To set and unset a timer for each request cost as much as to read it."""

    __slots__ = ("_is_busy", "_loop", "_on_idle", "_seconds", "_since", "_timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seconds: float,
        is_busy: Callable[[], bool],
        on_idle: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._seconds = seconds
        self._is_busy = is_busy
        self._on_idle = on_idle
        self._since = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """An answer is complete."""
        self._since = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._seconds, self._look)

    def _look(self) -> None:
        idle = 0.0 if self._is_busy() else self._loop.time() - self._since
        if idle >= self._seconds:
            self._timer = None
            self._on_idle()
        else:
            self._timer = self._loop.call_later(self._seconds - idle, self._look)

    def end(self) -> None:
        """The connection has gone, or is about to."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
