"""Hits that the store has counted before they come -> repeats that need not wait for it."""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.stages.limit import Rate

PARTS: Final = 200
"""All processes together hold at most one of so many parts of a rate: no window admits more than 0.5 % too many."""
_SWEPT_ABOVE: Final = 4096


class _Left(NamedTuple):
    """How many are left, and until when."""

    hits: int
    until: float


class HitsInAdvance:
    """A process's hits in hand, by key. `parts`: it takes that part of a rate at a time; 0 takes none.

    One that is spent later than it was counted may be one too many for the window that it is spent in, one that is
    never spent is one too few for the window that it was counted in. Small rates have none in advance.
    """

    def __init__(self, parts: int = 0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._parts = parts
        self._monotonic = monotonic
        self._left: dict[str, _Left] = {}
        self._swept_above = _SWEPT_ABOVE

    def spend(self, key: str) -> bool:
        """Whether there was one."""
        left = self._left.get(key)
        if left is None:
            return False
        if left.hits == 1 or left.until <= self._monotonic():
            del self._left[key]
            return left.until > self._monotonic()
        self._left[key] = _Left(left.hits - 1, left.until)
        return True

    def wanted(self, rate: Rate, key: str) -> int:
        """How many to have counted beside the one that is there now."""
        return rate.amount // self._parts if self._parts and key not in self._left else 0

    def keep(self, rate: Rate, key: str, count: int) -> None:
        """So many have been counted just now; they are forgotten with the window."""
        if not count:
            return
        now = self._monotonic()
        if len(self._left) >= self._swept_above:
            self._left = {key: left for key, left in self._left.items() if left.until > now}
            self._swept_above = max(_SWEPT_ABOVE, 2 * len(self._left))
        self._left[key] = _Left(count, now + rate.window_seconds)
