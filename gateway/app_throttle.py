"""[limit] -> what keeps an identity from asking, and an address from failing or asking without a token, too often."""

import time

from gateway.app_shelf import Shelf
from gateway.config.limit import Limit, Rates
from gateway.edges.anonymous_requests import AnonymousMemory, AnonymousRequests
from gateway.edges.buckets import MemoryBuckets, read_rate
from gateway.edges.failed_attempts import AttemptMemory, FailedAttempts, FailureRates
from gateway.model import Risk
from gateway.stages.limit import Limit as LimitStage
from gateway.stages.limit import Rate


def make_limit(section: Limit, buckets: MemoryBuckets) -> LimitStage:
    """Rates by class; the counters are the process's, whatever is reloaded."""
    return LimitStage(read_rates(section.rates), buckets, section.concurrent_per_identity)


def read_rates(rates: Rates) -> dict[Risk, Rate]:
    """One rate for each class, by the class's name in small letters."""
    return {
        risk: read_rate(risk.lower(), getattr(rates, risk.lower().replace("-", "_")))
        for risk in Risk
    }


def make_failure_budget(section: Limit, buckets: MemoryBuckets, shelf: Shelf) -> FailedAttempts:
    """Failed authentications, remembered by the process whatever is reloaded."""
    rates = FailureRates(
        per_subject=read_rate(
            "failed-authentications-per-subject", section.failed_authentications_per_subject
        ),
        per_address=read_rate("failed-authentications", section.failed_authentications),
        expired=read_rate("expired-tokens", section.failed_authentications),
        longest_seconds=section.longest_refusal_seconds,
    )
    memory = shelf.take("failed-attempts", AttemptMemory)
    return FailedAttempts(rates, buckets, memory, time.monotonic)


def make_anonymous_budget(
    section: Limit, buckets: MemoryBuckets, shelf: Shelf
) -> AnonymousRequests:
    """Requests without a token, remembered in the same way."""
    rate = read_rate("anonymous-requests", section.anonymous_requests)
    memory = shelf.take("anonymous-requests", AnonymousMemory)
    trusted = shelf.take("failed-attempts", AttemptMemory).trusted
    return AnonymousRequests(rate, buckets, memory, trusted.__contains__)
