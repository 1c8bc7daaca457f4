"""Failed authentications of all processes -> who is not heard by any of them for a while, ever longer.

The rates and the words are those of `failed_attempts`; counters and refusals are in the store. Tokens that
have verified are known to each process by itself.
"""

from hashlib import blake2b
from typing import Final

from gateway.denial import Reason
from gateway.edges.failed_attempts import AttemptMemory, FailedAttempts, FailureRates, Kept, kept_of
from gateway.edges.shared_buckets import SharedBuckets, limits_unavailable
from gateway.edges.store import Store, StoreAway
from gateway.stages.authenticate import Attempt
from gateway.stages.limit import Refusal, too_fast

USE: Final = "lock-outs"
_HASH_BYTES: Final = 16
_PENALISE: Final = """
local seconds = tonumber(ARGV[1])
local last = tonumber(redis.call('get', KEYS[2]))
if last then seconds = math.max(seconds, 2 * last) end
seconds = math.min(seconds, tonumber(ARGV[2]))
local milliseconds = math.ceil(seconds * 1000)
redis.call('set', KEYS[1], '1', 'PX', milliseconds)
redis.call('set', KEYS[2], tostring(seconds), 'PX', 2 * milliseconds)
return milliseconds
"""
"""One who goes on within the length of a refusal after its end is refused for twice as long, up to a longest."""


class SharedAttempts:
    """The FailureBudget of all processes. Raises StoreAway."""

    def __init__(
        self, rates: FailureRates, buckets: SharedBuckets, store: Store, memory: AttemptMemory
    ) -> None:
        self._rates = rates
        self._buckets = buckets
        self._store = store
        self._memory = memory
        self._penalise = store.client.register_script(_PENALISE)

    async def check(self, attempt: Attempt) -> None:
        """See FailureBudget."""
        if attempt.digest in self._memory.trusted:
            return
        kept = kept_of(self._rates, attempt, is_expired=False)
        if attempt.claims_to_be_expired:
            kept += kept_of(self._rates, attempt, is_expired=True)
        if not kept:
            return
        left = await self._store.ask(USE, lambda: self._left(kept))
        for (what, rate, _), milliseconds in zip(kept, left, strict=True):
            if milliseconds > 0:
                self._memory.refused[what] += 1
                refusal = Refusal(milliseconds / 1000)
                raise too_fast(rate, refusal, Reason.AUTHENTICATION_THROTTLED)

    async def _left(self, kept: list[Kept]) -> list[int]:
        """Milliseconds of each refusal that are left, in one question; negative where there is none."""
        pipeline = self._store.client.pipeline(transaction=False)
        for _, _, key in kept:
            pipeline.pttl(self._key("refused", key))
        left: list[int] = await pipeline.execute()
        return left

    async def count(self, attempt: Attempt, *, is_expired: bool) -> None:
        """See FailureBudget."""
        for _, rate, key in kept_of(self._rates, attempt, is_expired=is_expired):
            await self._buckets.hit(rate, key)
            refusal = await self._buckets.test(rate, key)
            if refusal is not None:
                await self._refuse(key, refusal)
        self._memory.failed["expired" if is_expired else "unknown"] += 1

    async def _refuse(self, key: str, refusal: Refusal) -> None:
        keys = [self._key("refused", key), self._key("before", key)]
        seconds = [max(1.0, refusal.retry_seconds), self._rates.longest_seconds]
        await self._store.run(USE, self._penalise, keys, seconds)

    def _key(self, what: str, key: str) -> str:
        data = key.encode("utf-8", "surrogatepass")
        return f"{self._store.prefix}:{what}:{blake2b(data, digest_size=_HASH_BYTES).hexdigest()}"


class AttemptsWhenAway:
    """The shared ones, or while the store is away this process's share of them in its own memory."""

    def __init__(self, shared: SharedAttempts, local: FailedAttempts) -> None:
        self._shared = shared
        self._local = local

    async def check(self, attempt: Attempt) -> None:
        """See FailureBudget."""
        try:
            await self._shared.check(attempt)
        except StoreAway:
            await self._local.check(attempt)

    async def count(self, attempt: Attempt, *, is_expired: bool) -> None:
        """See FailureBudget."""
        try:
            await self._shared.count(attempt, is_expired=is_expired)
        except StoreAway:
            await self._local.count(attempt, is_expired=is_expired)

    def trust(self, digest: bytes) -> None:
        """See FailureBudget."""
        self._local.trust(digest)


class RefuseUnknownWhenAway:
    """The shared ones, or while the store is away nobody whose token this process has not verified before."""

    def __init__(self, shared: SharedAttempts, local: FailedAttempts) -> None:
        self._shared = shared
        self._local = local

    async def check(self, attempt: Attempt) -> None:
        """See FailureBudget. Raises Denied(LIMITS_UNAVAILABLE)."""
        try:
            await self._shared.check(attempt)
        except StoreAway as away:
            raise limits_unavailable(away) from None

    async def count(self, attempt: Attempt, *, is_expired: bool) -> None:
        """See FailureBudget. Raises Denied(LIMITS_UNAVAILABLE)."""
        try:
            await self._shared.count(attempt, is_expired=is_expired)
        except StoreAway as away:
            raise limits_unavailable(away) from None

    def trust(self, digest: bytes) -> None:
        """See FailureBudget."""
        self._local.trust(digest)
