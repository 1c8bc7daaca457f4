"""A client that hangs up -> its request is cancelled, as long as that is harmless."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[Message]]
AsgiSend = Callable[[Message], Awaitable[None]]

_PATIENCE_SECONDS = 0.02
"""Most answers are there earlier, and a task for each would cost more than they do."""


class Disconnects(Protocol):
    """What the gateway's own HTTP protocol offers as `gateway.disconnect`: call me when it happens."""

    def __call__(self, callback: Callable[[], None], /) -> Callable[[], None]: ...


class Watchers:
    """Who wants to be told when one client goes away."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []

    def add(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have it called, once; what is returned takes it back."""
        self._callbacks.append(callback)
        return partial(self._remove, callback)

    def _remove(self, callback: Callable[[], None]) -> None:
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    def clear(self) -> None:
        """Nobody wants to know any more."""
        self._callbacks.clear()

    def tell(self) -> None:
        """The client has gone."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class ClientWatch:
    """Watches one client. While `is_cuttable`, its going away cancels the task that serves it."""

    __slots__ = ("_stop", "_task", "_watcher", "is_cuttable", "is_gone", "was_cut")

    def __init__(self, scope: Scope, receive: AsgiReceive) -> None:
        self.is_gone = False
        self.is_cuttable = True
        self.was_cut = False
        self._watcher: asyncio.Task[None] | None = None
        self._task = asyncio.current_task()
        offered: Disconnects | None = (scope.get("extensions") or {}).get("gateway.disconnect")
        if offered is not None:
            self._stop: Callable[[], None] = offered(self._gone)
        else:
            timer = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self._begin, receive)
            self._stop = timer.cancel

    def _begin(self, receive: AsgiReceive) -> None:
        """Portable, for any server: `receive` returns when the client has gone."""
        self._watcher = asyncio.get_running_loop().create_task(self._wait(receive))

    async def _wait(self, receive: AsgiReceive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._gone()

    def _gone(self) -> None:
        self.is_gone = True
        if self.is_cuttable and not self.was_cut and self._task is not None:
            self.was_cut = True
            self._task.cancel()

    def swallow_cancel(self) -> bool:
        """Whether the cancellation that has just been caught was ours; if so it is undone."""
        if not self.was_cut or self._task is None:
            return False
        self.was_cut = False
        return self._task.uncancel() == 0

    def stop(self) -> None:
        """The request is over; nothing is watched any more."""
        self.is_cuttable = False
        stop, self._stop = self._stop, _nothing  # it knows this watch: a circle otherwise
        stop()
        watcher = self._watcher
        if watcher is not None and not watcher.done():
            watcher.cancel()


def _nothing() -> None:
    """There is nothing left to take back."""
