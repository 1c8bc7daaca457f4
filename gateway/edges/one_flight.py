"""Many callers that want the same answer -> one call that fetches it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class OneFlight(Generic[K, V]):
    """A flight goes on when its callers are cancelled, for those who come after them."""

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[V]] = {}

    def join(self, key: K, fly: Callable[[], Coroutine[Any, Any, V]]) -> Awaitable[V]:
        """The result or exception of the flight for this key, begun if there is none."""
        task = self._flights.get(key)
        if task is None:
            task = self._flights[key] = asyncio.create_task(fly())
            task.add_done_callback(lambda _: self._flights.pop(key))
        return asyncio.shield(task)
