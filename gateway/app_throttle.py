"""[limit] -> what keeps an identity from asking, and an address from failing or asking without a token, too often."""

import time
from typing import assert_never

from gateway.app_shelf import Shelf
from gateway.app_store import Counting, count_processes
from gateway.config.gateway import Gateway
from gateway.config.limit import Limit, Rates
from gateway.edges.anonymous_requests import AnonymousMemory, AnonymousRequests
from gateway.edges.buckets import MemoryBuckets, read_rate
from gateway.edges.failed_attempts import AttemptMemory, FailedAttempts, FailureRates
from gateway.edges.shared_attempts import (
    USE,
    AttemptsWhenAway,
    RefuseUnknownWhenAway,
    SharedAttempts,
)
from gateway.edges.shared_buckets import SharedBuckets, share_of
from gateway.edges.store import Store
from gateway.model import Risk
from gateway.stages.authenticate import FailureBudget
from gateway.stages.limit import Limit as LimitStage
from gateway.stages.limit import Rate


def make_limit(section: Limit, buckets: Counting) -> LimitStage:
    """Rates by class; the counters stay, whatever is reloaded."""
    return LimitStage(read_rates(section.rates), buckets, section.concurrent_per_identity)


def read_rates(rates: Rates) -> dict[Risk, Rate]:
    """One rate for each class, by the class's name in small letters."""
    return {
        risk: read_rate(risk.lower(), getattr(rates, risk.lower().replace("-", "_")))
        for risk in Risk
    }


def make_failure_budget(
    config: Gateway, buckets: MemoryBuckets, shelf: Shelf, store: Store | None
) -> FailureBudget:
    """Failed authentications, remembered by the process or by the store, whatever is reloaded."""
    rates, memory = read_failure_rates(config.limit), shelf.take("failed-attempts", AttemptMemory)
    if store is None:
        return FailedAttempts(rates, buckets, memory, time.monotonic)
    shared = SharedAttempts(rates, SharedBuckets(store, USE), store, memory)
    part = _part_of(rates, count_processes(config))
    local = FailedAttempts(part, buckets, memory, time.monotonic)
    match config.store.lock_outs_when_away:
        case "share":
            return AttemptsWhenAway(shared, local)
        case "refuse":
            return RefuseUnknownWhenAway(shared, local)
        case never:
            assert_never(never)


def read_failure_rates(section: Limit) -> FailureRates:
    """What all processes together permit."""
    return FailureRates(
        per_subject=read_rate(
            "failed-authentications-per-subject", section.failed_authentications_per_subject
        ),
        per_address=read_rate("failed-authentications", section.failed_authentications),
        expired=read_rate("expired-tokens", section.failed_authentications),
        longest_seconds=section.longest_refusal_seconds,
    )


def _part_of(rates: FailureRates, processes: int) -> FailureRates:
    return FailureRates(
        share_of(rates.per_subject, processes),
        share_of(rates.per_address, processes),
        share_of(rates.expired, processes),
        rates.longest_seconds,
    )


def make_anonymous_budget(section: Limit, buckets: Counting, shelf: Shelf) -> AnonymousRequests:
    """Requests without a token, remembered in the same way."""
    rate = read_rate("anonymous-requests", section.anonymous_requests)
    memory = shelf.take("anonymous-requests", AnonymousMemory)
    trusted = shelf.take("failed-attempts", AttemptMemory).trusted
    return AnonymousRequests(rate, buckets, memory, trusted.__contains__)
