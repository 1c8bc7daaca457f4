"""Requests without a token, by address -> how many of them are answered; one more is 429.

What is counted costs a line of the audit each, and nobody stands behind it whose rate would pay.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from gateway.denial import Reason
from gateway.edges.failed_attempts import address_key
from gateway.stages.limit import Rate, Refusal, too_fast

_MOST_COUNTED = 65_536
"""Addresses that are counted at a time: a network of IPv6 has more of them than there is memory."""
_SETTING = "limit.anonymous_requests"


class Forgettable(Protocol):
    """Hits by key in a sliding window, some of which are taken back to save memory."""

    async def hit(self, rate: Rate, key: str) -> Refusal | None: ...

    def forget(self, rate: Rate, key: str) -> None: ...


class AnonymousMemory:
    """Who is counted, remembered over a reload so that nobody begins anew by one."""

    def __init__(self) -> None:
        self.counted: OrderedDict[str, Rate] = OrderedDict()


class AnonymousRequests:
    """The AnonymousBudget of one process. `is_trusted` knows the SHA-256 of tokens that have verified."""

    def __init__(
        self,
        rate: Rate,
        buckets: Forgettable,
        memory: AnonymousMemory,
        is_trusted: Callable[[bytes], bool],
    ) -> None:
        self._rate = rate
        self._buckets = buckets
        self._memory = memory
        self._is_trusted = is_trusted

    async def count(self, address: str, digest: bytes | None = None) -> None:
        """Count one, unless it came with a token that is trusted. Raises Denied (429) above the rate."""
        key = address_key(address)
        if not key or (digest is not None and self._is_trusted(digest)):
            return
        key = f"anonymous\x1f{key}"
        self._make_room(key)
        refusal = await self._buckets.hit(self._rate, key)
        if refusal is not None:
            denied = too_fast(self._rate, refusal, Reason.ANONYMOUS_THROTTLED)
            denied.rule = _SETTING
            raise denied

    def _make_room(self, key: str) -> None:
        """Whoever has not asked for the longest time is forgotten."""
        counted = self._memory.counted
        counted[key] = self._rate
        counted.move_to_end(key)
        if len(counted) > _MOST_COUNTED:
            oldest, counted_by = counted.popitem(last=False)
            self._buckets.forget(counted_by, oldest)
