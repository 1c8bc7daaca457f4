"""(Identity) -> Lease: a fair share of slurmrestd's few connections, waited for in a bounded queue."""

import asyncio
from collections import OrderedDict, deque
from math import ceil
from typing import NamedTuple, Protocol

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


class Sitter(Protocol):
    """Who waits for a slot; `seated` or `refused` is called once, unless it leaves or is done."""

    def done(self) -> bool: ...

    def seated(self, slot: Slot, /) -> None: ...

    def refused(self, denied: Denied, /) -> None: ...


class _Waiting:
    """A sitter that a task awaits."""

    __slots__ = ("future",)

    def __init__(self, future: "asyncio.Future[Slot]") -> None:
        self.future = future

    def done(self) -> bool:
        """Whether the task has been cancelled, and has not left yet."""
        return self.future.done()

    def seated(self, slot: Slot) -> None:
        """Wake the task."""
        self.future.set_result(slot)

    def refused(self, denied: Denied) -> None:
        """Wake it with the refusal."""
        if not self.future.done():
            self.future.set_exception(denied)


class _Turn(NamedTuple):
    """One request that waits, until `deadline` on the event loop's clock."""

    sitter: Sitter
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
        slot = self._at_once(identity.key)
        if slot is not None:
            return slot
        waiting = _Waiting(asyncio.get_running_loop().create_future())
        self._queue_up(identity.key, waiting)
        try:
            return await waiting.future
        except asyncio.CancelledError:
            self._leave(identity.key, waiting)
            raise

    def seat(self, identity: Identity, sitter: Sitter) -> None:
        """The same for whoever is told, which may be now. Raises Denied(BUSY) when the queue is full."""
        slot = self._at_once(identity.key)
        if slot is None:
            self._queue_up(identity.key, sitter)
        else:
            sitter.seated(slot)

    def leave(self, identity: Identity, sitter: object) -> None:
        """Out of the queue."""
        key = identity.key
        line = self._waiting.get(key, ())
        for turn in line:
            if turn.sitter is sitter:
                self._waiting[key].remove(turn)
                self._left(key, self._waiting[key])
                return

    def _at_once(self, key: _Key) -> Slot | None:
        held = self._held.get(key, 0)
        if not self._free or held >= self._share:
            return None
        self._free -= 1
        self._held[key] = held + 1
        return Slot(self, key)

    def _queue_up(self, key: _Key, sitter: Sitter) -> None:
        if self.queued >= self._queue:
            raise self._busy("the queue is full")
        if self._timer is None:
            self._loop = asyncio.get_running_loop()
            self._timer = self._loop.call_later(self._tick_seconds, self._tick)
        line = self._waiting.get(key)
        if line is None:
            line = self._waiting[key] = deque()
        line.append(_Turn(sitter, self._loop.time() + self._queue_seconds))
        self.queued += 1

    def _leave(self, key: _Key, waiting: _Waiting) -> None:
        """Out of the queue; a slot that came at the same moment goes on to the next."""
        future = waiting.future
        if future.done() and not future.cancelled() and future.exception() is None:
            future.result().release()
            return
        line = self._waiting.get(key)
        turn = next((turn for turn in line or () if turn.sitter is waiting), None)
        if line is not None and turn is not None:
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
                turn.sitter.refused(self._busy(f"waited for {self._queue_seconds:g} s"))
        self._timer = loop.call_later(self._tick_seconds, self._tick) if self._waiting else None

    def give_back(self, key: _Key) -> None:
        """Called by a Slot, once."""
        waiting = self._waiting
        if len(waiting) == 1 and key in waiting and self._hand_on(key):
            return
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

    def _hand_on(self, key: _Key) -> bool:
        """Where nobody else waits, an identity's slot goes to the next of its own line without being counted."""
        line = self._waiting[key]
        while line:
            sitter = line.popleft().sitter
            self._left(key, line)
            if not sitter.done():
                sitter.seated(Slot(self, key))
                return True
        return False

    def _next(self) -> _Key | None:
        """The identity that was served longest ago and has not its whole share."""
        held, share = self._held, self._share
        for key in self._waiting:
            if held.get(key, 0) < share:
                return key
        return None

    def _hand_to(self, key: _Key) -> None:
        line = self._waiting[key]
        sitter = line.popleft().sitter
        self.queued -= 1
        if not line:
            del self._waiting[key]
        elif len(self._waiting) > 1:
            self._waiting.move_to_end(key)
        if not sitter.done():
            self._free -= 1
            self._held[key] = self._held.get(key, 0) + 1
            sitter.seated(Slot(self, key))

    def _busy(self, note: str) -> Denied:
        after = max(1, min(5, ceil(self._queue_seconds)))
        return Denied(Reason.BUSY, note, rule="limit.queue", headers=(("Retry-After", str(after)),))
