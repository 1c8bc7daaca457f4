"""Every budget of failed authentications lets its amount through and then says when to come back."""

import time
from collections.abc import Callable

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.buckets import MemoryBuckets
from gateway.edges.failed_attempts import AttemptMemory, FailedAttempts, FailureRates
from gateway.stages.authenticate import Attempt, FailureBudget
from gateway.stages.limit import Rate
from tests.tokens import FakeFailures

AMOUNT = 3
ATTEMPT = Attempt("192.0.2.7", "alice", b"digest", claims_to_be_expired=False)


class BoundedFailures(FakeFailures):
    """The fake, with an amount."""

    async def count(self, attempt: Attempt, *, is_expired: bool) -> None:
        await super().count(attempt, is_expired=is_expired)
        if len(self.counted) >= AMOUNT:
            self.refusal = Denied(Reason.AUTHENTICATION_THROTTLED, headers=(("Retry-After", "1"),))


def in_memory() -> FailureBudget:
    rate = Rate("failed-authentications", AMOUNT, 3600)
    rates = FailureRates(rate, rate, rate, longest_seconds=7200.0)
    return FailedAttempts(rates, MemoryBuckets(), AttemptMemory(), time.monotonic)


@pytest.fixture(params=[BoundedFailures, in_memory])
def budget(request: pytest.FixtureRequest) -> FailureBudget:
    make: Callable[[], FailureBudget] = request.param
    return make()


async def test_a_budget_that_is_used_up_refuses_with_retry_after(budget: FailureBudget) -> None:
    for _ in range(AMOUNT):
        await budget.check(ATTEMPT)
        await budget.count(ATTEMPT, is_expired=False)
    with pytest.raises(Denied) as caught:
        await budget.check(ATTEMPT)
    assert caught.value.reason is Reason.AUTHENTICATION_THROTTLED
    assert int(dict(caught.value.headers)["Retry-After"]) >= 1


async def test_asking_costs_nothing(budget: FailureBudget) -> None:
    for _ in range(AMOUNT * 3):
        await budget.check(ATTEMPT)


async def test_a_token_that_verified_before_is_never_refused(budget: FailureBudget) -> None:
    budget.trust(b"good")
    for _ in range(AMOUNT * 3):
        await budget.count(ATTEMPT, is_expired=False)
    await budget.check(ATTEMPT._replace(digest=b"good"))
    with pytest.raises(Denied):
        await budget.check(ATTEMPT)


async def test_a_genuine_token_that_has_ended_uses_up_nobody_elses_attempts(
    budget: FailureBudget,
) -> None:
    for _ in range(AMOUNT * 3):
        await budget.count(ATTEMPT, is_expired=True)
    await budget.check(ATTEMPT)
