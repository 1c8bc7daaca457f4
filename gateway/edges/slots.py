"""(Identity) -> Lease: a fair share of slurmrestd's few connections, waited for in a bounded queue."""

import asyncio
from collections import OrderedDict, deque
from math import ceil

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


class FairSlots:
    """`total` slots. Waiting identities take turns, so that one with many requests delays only itself.

    While a slot is free, nobody waits but identities that hold their whole share.
    """

    def __init__(self, total: int, queue: int, queue_seconds: float) -> None:
        self._free = total
        self._share = max(1, total // _SHARE)
        self._queue = queue
        self._queue_seconds = queue_seconds
        self._held: dict[_Key, int] = {}
        self._waiting: OrderedDict[_Key, deque[asyncio.Future[Slot]]] = OrderedDict()
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
        turn: asyncio.Future[Slot] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        self.queued += 1
        try:
            async with asyncio.timeout(self._queue_seconds):
                return await turn
        except BaseException as error:
            self._leave(key, turn)
            if isinstance(error, TimeoutError):
                raise self._busy(f"waited for {self._queue_seconds:g} s") from error
            raise

    def _leave(self, key: _Key, turn: "asyncio.Future[Slot]") -> None:
        """Out of the queue; a slot that came at the same moment goes on to the next."""
        if turn.done() and not turn.cancelled():
            turn.result().release()
            return
        line = self._waiting.get(key)
        if line is not None and turn in line:
            line.remove(turn)
            self.queued -= 1
            if not line:
                del self._waiting[key]

    def give_back(self, key: _Key) -> None:
        """Called by a Slot, once."""
        held = self._held[key] - 1
        if held:
            self._held[key] = held
        else:
            del self._held[key]
        self._free += 1
        if self._waiting:
            self._hand_out()

    def _hand_out(self) -> None:
        """The identity that was served longest ago and has not its whole share is next."""
        while self._free:
            key = next((k for k in self._waiting if self._held.get(k, 0) < self._share), None)
            if key is None:
                return
            line = self._waiting[key]
            turn = line.popleft()
            self.queued -= 1
            if line:
                self._waiting.move_to_end(key)
            else:
                del self._waiting[key]
            if turn.cancelled():
                continue
            self._free -= 1
            self._held[key] = self._held.get(key, 0) + 1
            turn.set_result(Slot(self, key))

    def _busy(self, note: str) -> Denied:
        after = max(1, min(5, ceil(self._queue_seconds)))
        return Denied(Reason.BUSY, note, rule="limit.queue", headers=(("Retry-After", str(after)),))
