"""Things that outlive a reload: made once for the same settings, kept running, closed when unused."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

_Run = Callable[[], Coroutine[Any, Any, None]]
_Close = Callable[[], Awaitable[None] | None]


@dataclass(slots=True, eq=False)
class _Thing:
    value: Any
    run: _Run | None
    close: _Close | None
    task: asyncio.Task[None] | None = None


class Shelf:
    """What one generation uses. Its successor takes over whatever was made from the same key."""

    def __init__(self, previous: "Shelf | None" = None) -> None:
        self._previous = previous.things if previous is not None else {}
        self.things: dict[Hashable, _Thing] = {}

    def take(
        self,
        key: Hashable,
        make: Callable[[], T],
        *,
        run: Callable[[T], Coroutine[Any, Any, None]] | None = None,
        close: Callable[[T], Awaitable[None] | None] | None = None,
    ) -> T:
        """The thing made from this key before, or a new one.

        `run` is its work in the background, for ever; `close` ends it for good.
        """
        thing = self.things.get(key) or self._previous.get(key)
        if thing is None:
            value = make()
            thing = _Thing(
                value,
                None if run is None else lambda: run(value),
                None if close is None else lambda: close(value),
            )
        self.things[key] = thing
        kept: T = thing.value
        return kept

    def start(self) -> None:
        """Set the background work going that does not run yet."""
        for thing in self.things.values():
            if thing.run is not None and thing.task is None:
                thing.task = asyncio.get_running_loop().create_task(thing.run())
        self._previous = {}

    async def close_except(self, other: "Shelf | None" = None) -> None:
        """End what the other shelf does not hold; everything, if there is none."""
        kept = set(map(id, other.things.values())) if other is not None else set()
        for thing in self.things.values():
            if id(thing) not in kept:
                await _end(thing)


async def _end(thing: _Thing) -> None:
    if thing.task is not None:
        thing.task.cancel()
        with suppress(asyncio.CancelledError):
            await thing.task
    if thing.close is not None:
        closing = thing.close()
        if closing is not None:
            await closing
