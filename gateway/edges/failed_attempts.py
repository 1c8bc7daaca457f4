"""Failed authentications, by address and claimed subject -> who is not heard for a while, ever longer.

Two ceilings: one for a subject that an address claims in vain, and a high one for the address (the
/64 of an IPv6 one), which many people may share. Whoever goes on after a refusal has ended is refused
for twice as long.
"""

import ipaddress
from collections import OrderedDict
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from gateway.denial import Reason
from gateway.edges.buckets import MemoryBuckets
from gateway.model import Clock
from gateway.stages.authenticate import Attempt
from gateway.stages.limit import Rate, Refusal, too_fast

_MOST_PENALTIES = 65_536
_MOST_TRUSTED = 32_768
"""Digests of tokens that verified: some 5 MB."""
_MOST_COUNTED = 65_536
"""Keys that are counted at a time: an attacker's network of IPv6 has more addresses than there is memory."""
_SUBJECT_HASH_BYTES = 16
_UNIX_PEER = "unix"


class FailureRates(NamedTuple):
    """What an address may fail, and how long a refusal may become."""

    per_subject: Rate
    per_address: Rate
    expired: Rate
    longest_seconds: float


class Kept(NamedTuple):
    """One of the things that an attempt counts for: its name in the metrics, its rate and its key."""

    what: str
    rate: Rate
    key: str


class _Penalty(NamedTuple):
    until: float
    seconds: float


class AttemptMemory:
    """What is remembered over a reload, so that nobody gets fresh attempts by one."""

    def __init__(self) -> None:
        self.penalties: OrderedDict[str, _Penalty] = OrderedDict()
        self.trusted: OrderedDict[bytes, None] = OrderedDict()
        self.counted: OrderedDict[str, Rate] = OrderedDict()
        self.failed = {"unknown": 0, "expired": 0}
        self.refused = {"subject": 0, "address": 0, "expired": 0}


class FailedAttempts:
    """The FailureBudget of one process. `monotonic` gives seconds that never jump."""

    def __init__(
        self, rates: FailureRates, buckets: MemoryBuckets, memory: AttemptMemory, monotonic: Clock
    ) -> None:
        self._rates = rates
        self._buckets = buckets
        self._memory = memory
        self._monotonic = monotonic

    async def check(self, attempt: Attempt) -> None:
        """Raise Denied (429) where this address, or this claim from it, has failed too often."""
        if attempt.digest in self._memory.trusted:
            return
        keys = kept_of(self._rates, attempt, is_expired=False)
        if attempt.claims_to_be_expired:
            keys += kept_of(self._rates, attempt, is_expired=True)
        now = self._monotonic()
        for what, rate, key in keys:
            penalty = self._memory.penalties.get(key)
            if penalty is not None and penalty.until > now:
                self._memory.refused[what] += 1
                raise too_fast(rate, Refusal(penalty.until - now), Reason.AUTHENTICATION_THROTTLED)

    async def count(self, attempt: Attempt, *, is_expired: bool) -> None:
        """Count one: of an unknown token, or of a genuine one that has expired."""
        self._memory.failed["expired" if is_expired else "unknown"] += 1
        for _, rate, key in kept_of(self._rates, attempt, is_expired=is_expired):
            self._make_room(rate, key)
            await self._buckets.hit(rate, key)
            refusal = await self._buckets.test(rate, key)
            if refusal is not None:
                self._penalise(key, refusal)

    def _make_room(self, rate: Rate, key: str) -> None:
        """Whoever has not failed for the longest time is forgotten."""
        counted = self._memory.counted
        counted[key] = rate
        counted.move_to_end(key)
        if len(counted) > _MOST_COUNTED:
            oldest, counted_by = counted.popitem(last=False)
            self._buckets.forget(counted_by, oldest)

    def trust(self, digest: bytes) -> None:
        """This token has verified; it is heard from now on, whatever else its address does."""
        trusted = self._memory.trusted
        trusted[digest] = None
        trusted.move_to_end(digest)
        if len(trusted) > _MOST_TRUSTED:
            trusted.popitem(last=False)

    def _penalise(self, key: str, refusal: Refusal) -> None:
        """For as long as the rate says, or twice as long as the last time where that was not long ago."""
        now, penalties = self._monotonic(), self._memory.penalties
        last = penalties.pop(key, None)
        seconds = max(1.0, refusal.retry_seconds)
        if last is not None and now < last.until + last.seconds:
            seconds = max(seconds, 2 * last.seconds)
        seconds = min(seconds, self._rates.longest_seconds)
        penalties[key] = _Penalty(now + seconds, seconds)
        if len(penalties) > _MOST_PENALTIES:
            penalties.popitem(last=False)


def kept_of(rates: FailureRates, attempt: Attempt, *, is_expired: bool) -> list[Kept]:
    """What an attempt counts for; nothing where nobody can be told apart."""
    address = address_key(attempt.address)
    if not address:
        return []
    if is_expired:
        return [Kept("expired", rates.expired, f"expired\x1f{address}")]
    subject = _shortened(attempt.unverified_subject)
    return [
        Kept("subject", rates.per_subject, f"subject\x1f{address}\x1f{subject}"),
        Kept("address", rates.per_address, f"address\x1f{address}"),
    ]


def _shortened(unverified_subject: str) -> str:
    """Of one length whatever is claimed."""
    claimed = unverified_subject.encode("utf-8", "surrogatepass")
    return blake2b(claimed, digest_size=_SUBJECT_HASH_BYTES).hexdigest()


@lru_cache(maxsize=4096)
def address_key(address: str) -> str:
    """An IPv4 address, or the /64 of an IPv6 one, which is what a single host is given.

    Empty for a loopback address and for a UNIX socket's peer: behind those stand people whom a
    proxy does not tell apart, and one of them must not shut out the others.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "" if address == _UNIX_PEER else address
    if parsed.is_loopback:
        return ""
    if parsed.version == 4:  # noqa: PLR2004 (the number of the protocol)
        return address
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
