"""(rate, key) -> within the rate or not, for all processes together: sliding window counters in the store."""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from limits.aio.storage.redis.bridge import RedisBridge

from gateway.denial import Denied, Reason
from gateway.edges.buckets import Counters, MemoryBuckets
from gateway.edges.store import Store, StoreAway
from gateway.stages.limit import Rate, Refusal, WouldWait

_HASH_BYTES: Final = 16
_MOST_AT_ONCE: Final = 256
_SCRIPT: Final = f"""
local function acquire(KEYS, ARGV) {RedisBridge.SCRIPT_ACQUIRE_SLIDING_WINDOW.decode()} end
local function look(KEYS, ARGV) {RedisBridge.SCRIPT_SLIDING_WINDOW.decode()} end
local answers = {{}}
for number = 1, #KEYS / 2 do
  local keys = {{KEYS[2 * number - 1], KEYS[2 * number]}}
  local amount, window = ARGV[2 * number], ARGV[2 * number + 1]
  if ARGV[1] == 'hit' and acquire(keys, {{amount, window, 1}}) then
    answers[number] = false
  else
    local counters = look(keys, {{window}})
    for place = 1, 4 do counters[place] = counters[place] or 0 end
    answers[number] = counters
  end
end
return answers
"""
"""The library's own scripts, for many windows in one step."""
_RETRY: Final = (("Retry-After", "5"),)


class _Asked(NamedTuple):
    """One hit that waits for its answer."""

    key: str
    rate: Rate
    answer: "asyncio.Future[Refusal | None]"


class SharedBuckets:
    """A RateStore of all processes; the window's arithmetic is the `limits` library's, inside the server.

    Its one step is atomic there, so that any number of processes admit exactly the amount. Hits that come
    while one question is under way are asked together by the next: a question costs 0.2 ms of
    processor time here, however many hits it has. Keys are hashed: they hold issuers and subjects, and have no business
    in a store. Raises StoreAway.
    """

    def __init__(self, store: Store, use: str) -> None:
        self._store = store
        self._use = use
        self._script = store.client.register_script(_SCRIPT)
        self._waiting: list[_Asked] = []
        self._asking: asyncio.Task[None] | None = None

    async def hit(self, rate: Rate, key: str) -> Refusal | None:
        """Count one request and say whether it was within the rate."""
        asked = _Asked(self._key(key), rate, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await asked.answer

    async def test(self, rate: Rate, key: str) -> Refusal | None:
        """Say whether a hit would be within the rate, without counting it."""
        (counters,) = await self._ask([self._key(key)], [rate], "test")
        if counters is None or counters.are_below(rate):
            return None
        return Refusal(counters.seconds_until_below(rate))

    async def _ask_all(self) -> None:
        """Until nobody waits."""
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
                await self._answer(batch)
        finally:
            self._asking = None

    async def _answer(self, batch: Sequence[_Asked]) -> None:
        try:
            found = await self._ask([one.key for one in batch], [one.rate for one in batch], "hit")
        except Exception as error:  # noqa: BLE001 (whatever it is, nobody waits for ever)
            self._store.miss(self._use, len(batch) - 1)
            away = StoreAway(str(error) or type(error).__name__)
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(away)
            return
        for one, counters in zip(batch, found, strict=True):
            if not one.answer.done():
                one.answer.set_result(_refusal(one.rate, counters))

    async def _ask(
        self, keys: Sequence[str], rates: Sequence[Rate], what: str
    ) -> "list[Counters | None]":
        """The counters of each window; none where a hit was within the rate."""
        names = [name for key in keys for name in (f"{key}/-1", key)]
        values = [value for rate in rates for value in (rate.amount, rate.window_seconds)]
        answers = await self._store.run(self._use, self._script, names, [what, *values])
        return [_counters(answer) if answer else None for answer in answers]

    def _key(self, key: str) -> str:
        """Of one length, whatever a client may call itself."""
        data = key.encode("utf-8", "surrogatepass")
        digest = blake2b(data, digest_size=_HASH_BYTES).hexdigest()
        return f"{self._store.prefix}:{self._use}:{digest}"


def _counters(answer: Sequence[bytes | int | None]) -> Counters:
    """As the library's script tells them: times in milliseconds, nothing for a counter that is not there."""
    previous, previous_left, current, current_left = (int(value or 0) for value in answer)
    return Counters(previous, max(0, previous_left) / 1000, current, max(0, current_left) / 1000)


def _refusal(rate: Rate, counters: Counters | None) -> Refusal | None:
    return None if counters is None else Refusal(max(0.0, counters.seconds_until_below(rate)))


class ShareWhenAway:
    """The shared counters, or this process's share of each rate in its own memory while those are away."""

    def __init__(self, shared: SharedBuckets, local: MemoryBuckets, processes: int) -> None:
        self._shared = shared
        self._local = local
        self._processes = processes

    async def hit(self, rate: Rate, key: str) -> Refusal | None:
        """See RateStore."""
        try:
            return await self._shared.hit(rate, key)
        except StoreAway:
            return await self._local.hit(share_of(rate, self._processes), key)

    def hit_at_once(self, rate: Rate, key: str) -> Refusal | None:  # noqa: ARG002 (RateStore)
        """Never: the store has to be waited for."""
        raise WouldWait

    def forget(self, rate: Rate, key: str) -> None:
        """What is in memory; the store forgets by itself."""
        self._local.forget(share_of(rate, self._processes), key)


class RefuseWhenAway:
    """The shared counters, or nothing."""

    def __init__(self, shared: SharedBuckets) -> None:
        self._shared = shared

    async def hit(self, rate: Rate, key: str) -> Refusal | None:
        """See RateStore. Raises Denied(LIMITS_UNAVAILABLE)."""
        try:
            return await self._shared.hit(rate, key)
        except StoreAway as away:
            raise limits_unavailable(away) from None

    def hit_at_once(self, rate: Rate, key: str) -> Refusal | None:  # noqa: ARG002 (RateStore)
        """Never: the store has to be waited for."""
        raise WouldWait

    def forget(self, rate: Rate, key: str) -> None:
        """The store forgets by itself."""


def share_of(rate: Rate, processes: int) -> Rate:
    """One process's part of a rate; the least is one, or nobody could do anything."""
    return rate._replace(amount=max(1, rate.amount // processes))


def limits_unavailable(away: StoreAway) -> Denied:
    """What a setting asks for while nothing can be counted."""
    return Denied(Reason.LIMITS_UNAVAILABLE, str(away), rule="store", headers=_RETRY)
