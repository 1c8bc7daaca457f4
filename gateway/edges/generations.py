"""(Slurm user, what a write concerned) -> the flight from which on an answer may be used by that user."""

from collections import OrderedDict
from typing import Protocol

_MOST_REMEMBERED = 65_536
_NEVER = 0


class Generations(Protocol):
    """A number for each name that every write raises. Values are serialisable, so that processes can share a store.

    Neither raises an exception: a store that is away tells a number that it has never told before.
    """

    async def of(self, name: str, /) -> int:
        """0 as long as nobody has written."""
        ...

    async def advance(self, name: str, /) -> None:
        """Whoever asks from now on is told another number."""


class MemoryGenerations:
    """Of one process. Names that have been silent for longest are forgotten; no number comes twice."""

    def __init__(self) -> None:
        self._last = _NEVER
        self._by_name: OrderedDict[str, int] = OrderedDict()

    async def of(self, name: str) -> int:
        """See Generations."""
        return self._by_name.get(name, _NEVER)

    async def advance(self, name: str) -> None:
        """See Generations."""
        self._last += 1
        self._by_name[name] = self._last
        self._by_name.move_to_end(name)
        if len(self._by_name) > _MOST_REMEMBERED:
            self._by_name.popitem(last=False)


class Floors:
    """Numbers flights, and says which was the first that began after a user's last write.

    A write of one user so ends nothing for those who share answers with them.
    """

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._last = 0
        self._seen: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def next(self) -> int:
        """The number of a flight that begins now."""
        self._last += 1
        return self._last

    async def of(self, name: str) -> int:
        """Flights with lower numbers began before the last write that is known of."""
        generation = await self._generations.of(name)

        if generation == _NEVER:
            return 0
        seen = self._seen.get(name)
        if seen is not None and seen[0] == generation:
            return seen[1]
        floor = self.next()
        self._seen[name] = (generation, floor)
        self._seen.move_to_end(name)
        if len(self._seen) > _MOST_REMEMBERED:
            self._seen.popitem(last=False)
        return floor

    async def advance(self, name: str) -> None:
        """There was a write."""
        await self._generations.advance(name)
