"""[limit] -> what keeps an address from failing, or from asking without a token, too often."""

import time

from gateway.app_shelf import Shelf
from gateway.config.limit import Limit
from gateway.edges.anonymous_requests import AnonymousMemory, AnonymousRequests
from gateway.edges.buckets import MemoryBuckets, read_rate
from gateway.edges.failed_attempts import AttemptMemory, FailedAttempts, FailureRates


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
