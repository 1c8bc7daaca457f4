"""(rate, key) -> within the rate or not, for all processes together: sliding window counters in the store."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

from limits.aio.storage.redis.bridge import RedisBridge

from gateway.denial import Denied, Reason
from gateway.edges.buckets import Counters, MemoryBuckets
from gateway.edges.hits_in_advance import HitsInAdvance
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
  local amount, window, wanted = ARGV[3 * number - 2], ARGV[3 * number - 1], tonumber(ARGV[3 * number])
  if wanted > 1 and acquire(keys, {{amount, window, wanted}}) then
    answers[number] = wanted
  elseif wanted > 0 and acquire(keys, {{amount, window, 1}}) then
    answers[number] = 1
  else
    local counters = look(keys, {{window}})
    for place = 1, 4 do counters[place] = counters[place] or 0 end
    answers[number] = counters
  end
end
return answers
"""
"""The library's own scripts, for many windows in one step: how many hits were counted, or the counters."""
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
    processor time here, however many hits it has. `ahead` are hits that were asked for before they come.
    Keys are hashed: they hold issuers and subjects, and have no business in a store. Raises StoreAway.
    """

    def __init__(self, store: Store, use: str, ahead: HitsInAdvance | None = None) -> None:
        self._store = store
        self._use = use
        self._ahead = ahead or HitsInAdvance()
        self._script = store.client.register_script(_SCRIPT)
        self._waiting: list[_Asked] = []
        self._asking: asyncio.Task[None] | None = None

    async def hit(self, rate: Rate, key: str) -> Refusal | None:
        """Count one request and say whether it was within the rate."""
        if self._ahead.spend(key):
            return None
        asked = _Asked(key, rate, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask_all())
        return await asked.answer

    def hit_at_once(self, rate: Rate, key: str) -> Refusal | None:  # noqa: ARG002 (RateStore)
        """Of those in advance. Raises WouldWait where there is none, for the store has to be waited for."""
        if self._ahead.spend(key):
            return None
        raise WouldWait

    async def test(self, rate: Rate, key: str) -> Refusal | None:
        """Say whether a hit would be within the rate, without counting it."""
        (counters,) = await self._ask([(key, rate, 0)])
        if isinstance(counters, int) or counters.are_below(rate):
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
            found = await self._ask(self._with_more(batch))
        except Exception as error:  # noqa: BLE001 (whatever it is, nobody waits for ever)
            self._store.miss(self._use, len(batch) - 1)
            away = StoreAway(str(error) or type(error).__name__)
            for one in batch:
                if not one.answer.done():
                    one.answer.set_exception(away)
            return
        for one, counted in zip(batch, found, strict=True):
            if isinstance(counted, int):
                self._ahead.keep(one.rate, one.key, counted - 1)
            if not one.answer.done():
                one.answer.set_result(_refusal(one.rate, counted))

    def _with_more(self, batch: Sequence[_Asked]) -> Iterator[tuple[str, Rate, int]]:
        """The first of each key asks for those in advance, too."""
        seen = set()
        for key, rate, _ in batch:
            yield key, rate, 1 if key in seen else 1 + self._ahead.wanted(rate, key)
            seen.add(key)

    async def _ask(self, hits: Iterable[tuple[str, Rate, int]]) -> "list[int | Counters]":
        """(key, rate, how many) -> how many were counted: all, or one; or the counters where not even that."""
        names: list[str] = []
        values: list[int] = []
        for key, rate, wanted in hits:
            name = self._key(key)
            names += f"{name}/-1", name
            values += rate.amount, rate.window_seconds, wanted
        answers = await self._store.run(self._use, self._script, names, values)
        return [one if isinstance(one, int) else _counters(one) for one in answers]

    def _key(self, key: str) -> str:
        """Of one length, whatever a client may call itself."""
        data = key.encode("utf-8", "surrogatepass")
        digest = blake2b(data, digest_size=_HASH_BYTES).hexdigest()
        return f"{self._store.prefix}:{self._use}:{digest}"


def _counters(answer: Sequence[bytes | int | None]) -> Counters:
    """As the library's script tells them: times in milliseconds, nothing for a counter that is not there."""
    previous, previous_left, current, current_left = (int(value or 0) for value in answer)
    return Counters(previous, max(0, previous_left) / 1000, current, max(0, current_left) / 1000)


def _refusal(rate: Rate, counted: int | Counters) -> Refusal | None:
    if isinstance(counted, int):
        return None
    return Refusal(max(0.0, counted.seconds_until_below(rate)))


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

    def hit_at_once(self, rate: Rate, key: str) -> Refusal | None:
        """See RateStore. Raises WouldWait."""
        return self._shared.hit_at_once(rate, key)

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

    def hit_at_once(self, rate: Rate, key: str) -> Refusal | None:
        """See RateStore. Raises WouldWait."""
        return self._shared.hit_at_once(rate, key)

    def forget(self, rate: Rate, key: str) -> None:
        """The store forgets by itself."""


def share_of(rate: Rate, processes: int) -> Rate:
    """One process's part of a rate; the least is one, or nobody could do anything."""
    return rate._replace(amount=max(1, rate.amount // processes))


def limits_unavailable(away: StoreAway) -> Denied:
    """What a setting asks for while nothing can be counted."""
    return Denied(Reason.LIMITS_UNAVAILABLE, str(away), rule="store", headers=_RETRY)
