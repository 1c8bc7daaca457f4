"""(Identity, AuthorizedCall) -> Lease: one more request of this class, or 429 that says when."""

from collections.abc import Callable, Mapping
from math import ceil
from typing import NamedTuple, Protocol

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall, Identity, Lease, Risk

_HEAVY_TEMPLATES = frozenset({"/slurm/{version}/nodes", "/slurm/{version}/nodes/"})


class Rate(NamedTuple):
    """At most `amount` requests in any `window_seconds`; `name` stands in RateLimit-Policy."""

    name: str
    amount: int
    window_seconds: int


class Refusal(NamedTuple):
    """The rate is used up; a request will be let through again after `retry_seconds`."""

    retry_seconds: float


class WouldWait(Exception):
    """The answer takes time, and whoever asks has none."""


class RateStore(Protocol):
    """Counts hits by key in a sliding window; returns None where the hit was within the rate.

    Values are serialisable, so that processes can share a store.
    """

    async def hit(self, rate: Rate, key: str) -> Refusal | None: ...

    def hit_at_once(self, rate: Rate, key: str) -> Refusal | None:
        """The same without waiting. Raises WouldWait where that cannot be."""
        ...


class ConcurrencyLease:
    """One running request of an identity; `release` gives it back, a second call does nothing."""

    __slots__ = ("_held", "_key", "_running")

    def __init__(self, running: dict[tuple[str, str], int], key: tuple[str, str]) -> None:
        self._running = running
        self._key = key
        self._held = True

    def release(self) -> None:
        """Count one less; the entry of an idle identity is dropped."""
        if not self._held:
            return
        self._held = False
        left = self._running[self._key] - 1
        if left:
            self._running[self._key] = left
        else:
            del self._running[self._key]


class Limit:
    """Rates per (issuer, subject) and class, and a cap on requests at the same time."""

    def __init__(
        self, rates: Mapping[Risk, Rate], store: RateStore, concurrent_per_identity: int
    ) -> None:
        self._rates = rates
        self._store = store
        self._concurrent = concurrent_per_identity
        self._running: dict[tuple[str, str], int] = {}

    async def __call__(self, identity: Identity, call: AuthorizedCall) -> ConcurrencyLease:
        """Raise Denied with 429 and Retry-After where there is no room."""
        key = identity.key
        running = self._running.get(key, 0)
        if running >= self._concurrent:
            raise self._too_many(running)
        rate = self._rates[charged_class(call)]
        refusal = await self._store.hit(rate, _counter(rate, key))
        if refusal is not None:
            raise too_fast(rate, refusal)
        # others may have come while the store was asked; from here on there is no await
        running = self._running.get(key, 0)
        if running >= self._concurrent:
            raise self._too_many(running)
        self._running[key] = running + 1
        return ConcurrencyLease(self._running, key)

    def of_repeats(self, identity: Identity, call: AuthorizedCall) -> Callable[[], Lease]:
        """The same for each repeat of a call, without waiting."""
        key, running_by, most = identity.key, self._running, self._concurrent
        rate, hit = self._rates[charged_class(call)], self._store.hit_at_once
        counter = _counter(rate, key)

        def once_more() -> Lease:
            running = running_by.get(key, 0)
            if running >= most:
                raise self._too_many(running)
            refusal = hit(rate, counter)
            if refusal is not None:
                raise too_fast(rate, refusal)
            running_by[key] = running + 1
            return ConcurrencyLease(running_by, key)

        return once_more

    def _too_many(self, running: int) -> Denied:
        return Denied(
            Reason.CONCURRENCY_EXCEEDED,
            f"{running} running",
            detail=f"At most {self._concurrent} requests at the same time are allowed.",
            rule="limit.concurrent_per_identity",
            headers=(("Retry-After", "1"),),
        )


def _counter(rate: Rate, key: tuple[str, str]) -> str:
    return "\x1f".join((rate.name, *key))


def charged_class(call: AuthorizedCall) -> Risk:
    """The class whose rate pays: slurmdb reads and the node list cost Slurm as much as a heavy read."""
    risk = call.risk
    if risk is not Risk.READ:
        return risk
    template = call.operation.template
    is_heavy = template.startswith("/slurmdb/") or template in _HEAVY_TEMPLATES
    return Risk.READ_HEAVY if is_heavy else risk


def too_fast(rate: Rate, refusal: Refusal, reason: Reason = Reason.RATE_EXCEEDED) -> Denied:
    """429 with Retry-After and the RateLimit fields (draft-ietf-httpapi-ratelimit-headers)."""
    wait = max(1, ceil(refusal.retry_seconds))
    return Denied(
        reason,
        f"{rate.name}: {rate.amount} in {rate.window_seconds} s",
        detail=f"{reason.sentence} Try again in {wait} s.",
        rule=f"limit.rates.{rate.name}",
        headers=(
            ("Retry-After", str(wait)),
            ("RateLimit-Policy", f'"{rate.name}";q={rate.amount};w={rate.window_seconds}'),
            ("RateLimit", f'"{rate.name}";r=0;t={wait}'),
        ),
    )
