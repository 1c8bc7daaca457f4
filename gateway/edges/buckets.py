"""(rate, key) -> within the rate or not: sliding window counters in this process's memory."""

import time
from inspect import unwrap
from math import floor
from typing import NamedTuple

from limits import parse
from limits.storage import MemoryStorage

from gateway.stages.limit import Rate, Refusal

_SWEEP_SECONDS = 5.0


def _unwrapped(storage: type["SweptMemoryStorage"]) -> type["SweptMemoryStorage"]:
    """Take off the library's translation of storage errors: memory has none, and it costs 3 us a hit."""
    for name in ("get", "incr", "acquire_sliding_window_entry", "get_sliding_window"):
        setattr(storage, name, unwrap(getattr(storage, name)))
    return storage


@_unwrapped
class SweptMemoryStorage(MemoryStorage):
    """The library's memory storage without its expiry thread.

    The library starts a thread every 10 ms of traffic to look through all keys; a sweep every
    few seconds, from the calls themselves, costs nothing that can be measured. A hit is the library's
    arithmetic on its own counters in one step instead of six calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self._next_sweep = time.time() + _SWEEP_SECONDS
        self._keys: dict[str, tuple[int, str, str]] = {}
        """By key: the number of the window of its last hit, and the keys of the two counters, which go by that."""

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        """Count `amount` more, unless that were more than `limit` in the window that slides over two counters.

        A counter is read within two windows of its first hit, so it has not expired yet.
        """
        now = time.time()
        counters, window = self.storage, int(now / expiry)
        known = self._keys.get(key)
        if known is None or known[0] != window:
            previous_key = f"{key}/{int((now - expiry) / expiry)}"
            self._keys[key] = known = (window, f"{key}/{window}", previous_key)
        current_key = known[1]
        count = counters.get(current_key, 0)
        previous = counters.get(known[2], 0)
        if count + previous + amount > limit:  # the previous one weighs as much at the most
            weighted = count + previous * ((1 - (((now - expiry) / expiry) % 1)) * expiry) / expiry
            if floor(weighted) + amount > limit:
                return False
        if count:
            counters[current_key] = count + amount
        else:
            self.incr(current_key, 2 * expiry, amount)
        return True

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Count `amount` more under `key`, which is forgotten `expiry` seconds after its first."""
        now = time.time()
        if not 0 < self._next_sweep - now <= _SWEEP_SECONDS:  # or the clock was set back
            self._sweep(now)
        if self.expirations.get(key, 0.0) <= now:
            self.storage.pop(key, None)
            self.expirations[key] = now + expiry
        self.storage[key] += amount
        return self.storage[key]

    def _sweep(self, now: float) -> None:
        self._next_sweep = now + _SWEEP_SECONDS
        self._keys.clear()
        for key in [key for key, end in self.expirations.items() if end <= now]:
            del self.expirations[key]
            self.storage.pop(key, None)


class Counters(NamedTuple):
    """A window that slides over two counters, with the seconds that are left of each."""

    previous: int
    previous_left: float
    current: int
    current_left: float

    def are_below(self, rate: Rate) -> bool:
        """Whether one more would be within the rate."""
        weighted = self.previous * self.previous_left / rate.window_seconds + self.current
        return floor(weighted) < rate.amount

    def seconds_until_below(self, rate: Rate) -> float:
        """Of counters that are not below it: until the weighted count is.

        The library's own reset time is that of the next counter to shrink, which can be too early.
        """
        _, amount, window = rate
        if self.current >= amount or not self.previous:
            return self.current_left - window  # the end of the current window
        return max(0.0, self.previous_left - (amount - self.current) * window / self.previous)


def read_rate(name: str, text: str) -> Rate:
    """`"50/second"`, in any form that the library reads, as a Rate. Raises ValueError."""
    item = parse(text)
    return Rate(name, item.amount, item.get_expiry())


class MemoryBuckets:
    """A RateStore for one process; the window's arithmetic is the `limits` library's."""

    def __init__(self) -> None:
        self._storage = SweptMemoryStorage()

    async def hit(self, rate: Rate, key: str) -> Refusal | None:
        """Count one request and say whether it was within the rate."""
        return self.hit_at_once(rate, key)

    def hit_at_once(self, rate: Rate, key: str) -> Refusal | None:
        """The same; memory need not be waited for."""
        _, amount, window = rate
        # straight to the storage: the strategy around it would build the key anew, for 2 us
        if self._storage.acquire_sliding_window_entry(key, amount, window):
            return None
        return Refusal(self._free_in(rate, key))

    async def test(self, rate: Rate, key: str) -> Refusal | None:
        """Say whether a hit would be within the rate, without counting it."""
        counters = Counters(*self._storage.get_sliding_window(key, rate.window_seconds))
        return None if counters.are_below(rate) else Refusal(counters.seconds_until_below(rate))

    def forget(self, rate: Rate, key: str) -> None:
        """As if there had been no hit."""
        self._storage.clear_sliding_window(key, rate.window_seconds)

    def _free_in(self, rate: Rate, key: str) -> float:
        counters = self._storage.get_sliding_window(key, rate.window_seconds)
        return Counters(*counters).seconds_until_below(rate)
