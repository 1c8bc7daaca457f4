"""(Identity) -> Lease: a fair share of slurmrestd's few connections, waited for in a bounded queue."""

import asyncio
from collections import OrderedDict, deque
from math import ceil
from typing import NamedTuple

from gateway.denial import Denied, Reason
from gateway.model import Identity

_SHARE = 4
"""No identity holds more than one of so many parts."""

_Key = tuple[str, str]


class Slot:
    """The right to one connection; a second `release` does nothing."""

    __slots__ = ("_held", "_key", "_slots")

    def __init__(self, slots: "FairSlots", key: _Key) -> None:
        self._slots = slots
        self._key = key
        self._held = True

    def release(self) -> None:
        """Give the connection to whoever is next."""
        if self._held:
            self._held = False
            self._slots.give_back(self._key)


class _Turn(NamedTuple):
    """One request that waits, until `deadline` on the event loop's clock."""

    slot: "asyncio.Future[Slot]"
    deadline: float


class FairSlots:
    """`total` slots. Waiting identities take turns, so that one with many requests delays only itself.

    While a slot is free, nobody waits but identities that hold their whole share. One timer serves
    the whole queue, because under load most requests wait for a moment.
    """

    def __init__(self, total: int, queue: int, queue_seconds: float) -> None:
        self._free = total
        self._share = max(1, total // _SHARE)
        self._queue = queue
        self._queue_seconds = queue_seconds
        self._tick_seconds = min(1.0, queue_seconds / 8)
        self._held: dict[_Key, int] = {}
        self._waiting: OrderedDict[_Key, deque[_Turn]] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self.queued = 0

    async def acquire(self, identity: Identity) -> Slot:
        """At once where there is room. Raises Denied(BUSY) when the queue is full or the wait too long."""
        key = identity.key
        held = self._held.get(key, 0)
        if self._free and held < self._share:
            self._free -= 1
            self._held[key] = held + 1
            return Slot(self, key)
        if self.queued >= self._queue:
            raise self._busy("the queue is full")
        return await self._wait(key)

    async def _wait(self, key: _Key) -> Slot:
        loop = asyncio.get_running_loop()
        turn = _Turn(loop.create_future(), loop.time() + self._queue_seconds)
        line = self._waiting.get(key)
        if line is None:
            line = self._waiting[key] = deque()
        line.append(turn)
        self.queued += 1
        if self._timer is None:
            self._timer = loop.call_later(self._tick_seconds, self._tick)
        try:
            return await turn.slot
        except asyncio.CancelledError:
            self._leave(key, turn)
            raise

    def _leave(self, key: _Key, turn: _Turn) -> None:
        """Out of the queue; a slot that came at the same moment goes on to the next."""
        if turn.slot.done() and not turn.slot.cancelled() and turn.slot.exception() is None:
            turn.slot.result().release()
            return
        line = self._waiting.get(key)
        if line is not None and turn in line:
            line.remove(turn)
            self._left(key, line)

    def _left(self, key: _Key, line: deque[_Turn]) -> None:
        self.queued -= 1
        if not line:
            del self._waiting[key]

    def _tick(self) -> None:
        """Refuse who has waited too long; in each line those are the first."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for key, line in list(self._waiting.items()):
            while line and line[0].deadline <= now:
                turn = line.popleft()
                self._left(key, line)
                if not turn.slot.done():
                    turn.slot.set_exception(self._busy(f"waited for {self._queue_seconds:g} s"))
        self._timer = loop.call_later(self._tick_seconds, self._tick) if self._waiting else None

    def give_back(self, key: _Key) -> None:
        """Called by a Slot, once."""
        held = self._held[key] - 1
        if held:
            self._held[key] = held
        else:
            del self._held[key]
        self._free += 1
        while self._waiting and self._free:
            following = self._next()
            if following is None:
                return
            self._hand_to(following)

    def _next(self) -> _Key | None:
        """The identity that was served longest ago and has not its whole share."""
        held, share = self._held, self._share
        for key in self._waiting:
            if held.get(key, 0) < share:
                return key
        return None

    def _hand_to(self, key: _Key) -> None:
        line = self._waiting[key]
        slot = line.popleft().slot
        self.queued -= 1
        if not line:
            del self._waiting[key]
        elif len(self._waiting) > 1:
            self._waiting.move_to_end(key)
        if not slot.done():
            self._free -= 1
            self._held[key] = self._held.get(key, 0) + 1
            slot.set_result(Slot(self, key))

    def _busy(self, note: str) -> Denied:
        after = max(1, min(5, ceil(self._queue_seconds)))
        return Denied(Reason.BUSY, note, rule="limit.queue", headers=(("Retry-After", str(after)),))
