"""The exchanges of one connection, one after the other -> run by one task, instead of a task for each.

asyncio keeps every task in a weak set that is written in Python: making and dropping a task for each
request cost as much as reading it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, cast

from gateway.web.head_memo import HeadMemo


class Runs(Protocol):
    """An exchange, as far as this is concerned. What it raises is handed to `fail`, which does not."""

    def run(self) -> Awaitable[None]: ...

    async def fail(self, error: BaseException) -> None: ...


class Rides(Protocol):
    """An exchange that is served without the task. `is_cut`: it is not waited for any longer."""

    is_cut: bool


class Standin(NamedTuple):
    """Stands among the server's tasks for an exchange that is served without one; all that is done to them there."""

    cancel: Callable[[], None]


class Turns:
    """`tasks` holds the task while an exchange runs and not while it waits, for the server's drain.

    `cut` ends the connection of an exchange that rides (express.py) and that is not waited for any longer.
    """

    __slots__ = (
        "_cut",
        "_due",
        "_is_over",
        "_loop",
        "_riding",
        "_standin",
        "_task",
        "_tasks",
        "_waiter",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tasks: set[asyncio.Task[None]],
        cut: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._tasks = tasks
        self._cut = cut
        self._standin = cast("asyncio.Task[None]", Standin(self._cut_off))
        self._riding: Rides | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[Runs | None] | None = None
        self._due: Runs | None = None
        self._is_over = False

    def start(self, exchange: Runs) -> None:
        """Run an exchange. The one before it has been answered, but may not have returned yet."""
        waiter, task = self._waiter, self._task
        if task is None:
            self._task = task = self._loop.create_task(self._run(exchange))
            self._tasks.add(task)
        elif waiter is not None:
            self._waiter = None
            self._tasks.add(task)
            waiter.set_result(exchange)
        else:
            self._due = exchange

    def ride(self, memo: HeadMemo, exchange: Rides) -> bool:
        """Have an exchange served without the task, if its lane takes it and the one before has returned."""
        if self._waiter is None and self._task is not None:
            return False
        self._tasks.add(self._standin)
        self._riding = exchange
        if memo.rides(exchange):
            return True
        self.answered()
        return False

    def answered(self) -> None:
        """Whatever rode has been answered."""
        self._riding = None
        self._tasks.discard(self._standin)

    def _cut_off(self) -> None:
        if self._riding is not None:
            self._riding.is_cut = True
        self._cut()

    def task(self) -> asyncio.Task[None] | None:
        """The one that all exchanges run in; None before the first."""
        return self._task

    def end(self) -> None:
        """No more will come: the connection is gone. What runs goes on to its own end."""
        self._is_over = True
        self.answered()
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def _run(self, first: Runs) -> None:
        exchange: Runs | None = first
        while exchange is not None:
            try:
                await exchange.run()
            except BaseException as error:  # noqa: BLE001  # the connection outlives whoever serves
                await exchange.fail(error)
            exchange, self._due = self._due, None
            if exchange is None and not self._is_over:
                exchange = await self._next()
        if self._task is not None:
            self._tasks.discard(self._task)

    async def _next(self) -> Runs | None:
        if self._task is not None:
            self._tasks.discard(self._task)
        waiter: asyncio.Future[Runs | None] = self._loop.create_future()
        self._waiter = waiter
        try:
            return await waiter
        except asyncio.CancelledError:
            exchange = waiter.result() if waiter.done() and not waiter.cancelled() else None
            if exchange is None or self._task is None:
                raise
            # cut off between its start and now: it may hold what only it gives back
            self._loop.call_soon(self._task.cancel)
            return exchange
