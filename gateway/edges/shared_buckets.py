"""(rate, key) -> within the rate or not, for all processes together: sliding window counters in the store."""

from hashlib import blake2b
from typing import Any, Final, cast

from limits.aio.storage import RedisStorage

from gateway.denial import Denied, Reason
from gateway.edges.buckets import Counters, MemoryBuckets
from gateway.edges.store import Store, StoreAway
from gateway.stages.limit import Rate, Refusal, WouldWait

_HASH_BYTES: Final = 16
_RETRY: Final = (("Retry-After", "5"),)


class SharedBuckets:
    """A RateStore of all processes; the window's arithmetic is the `limits` library's, inside the server.

    Its one step is atomic there, so that any number of processes admit exactly the amount. Keys are
    hashed: they hold issuers and subjects, and have no business in a store. Raises StoreAway.
    """

    def __init__(self, store: Store, use: str) -> None:
        self._store = store
        self._use = use
        options = cast("dict[str, Any]", {"connection_pool": store.client.connection_pool})
        self._storage = RedisStorage(
            "async+redis://",
            implementation="redispy",
            key_prefix=f"{store.prefix}:{use}",
            **options,
        )

    async def hit(self, rate: Rate, key: str) -> Refusal | None:
        """Count one request and say whether it was within the rate."""
        name, (_, amount, window) = _hashed(key), rate
        storage = self._storage
        if await self._store.ask(
            self._use, lambda: storage.acquire_sliding_window_entry(name, amount, window)
        ):
            return None
        counters = await self._counters(rate, name)
        return Refusal(max(0.0, counters.seconds_until_below(rate)))

    async def test(self, rate: Rate, key: str) -> Refusal | None:
        """Say whether a hit would be within the rate, without counting it."""
        counters = await self._counters(rate, _hashed(key))
        return None if counters.are_below(rate) else Refusal(counters.seconds_until_below(rate))

    async def _counters(self, rate: Rate, name: str) -> Counters:
        window = rate.window_seconds
        return Counters(
            *await self._store.ask(
                self._use, lambda: self._storage.get_sliding_window(name, window)
            )
        )


def _hashed(key: str) -> str:
    """Of one length, whatever a client may call itself."""
    data = key.encode("utf-8", "surrogatepass")
    return blake2b(data, digest_size=_HASH_BYTES).hexdigest()


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
