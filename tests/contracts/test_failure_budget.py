"""Every budget of failed authentications lets its amount through and then says when to come back."""

from collections.abc import Callable

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.buckets import AddressBudget, MemoryBuckets
from gateway.stages.authenticate import FailureBudget
from gateway.stages.limit import Rate
from tests.tokens import FakeFailures

AMOUNT = 3


class BoundedFailures(FakeFailures):
    """The fake, with an amount."""

    async def count(self, address: str) -> None:
        await super().count(address)
        if len(self.counted) >= AMOUNT:
            self.refusal = Denied(Reason.AUTHENTICATION_THROTTLED, headers=(("Retry-After", "1"),))


def in_memory() -> FailureBudget:
    return AddressBudget(Rate("failed-authentications", AMOUNT, 3600), MemoryBuckets())


@pytest.fixture(params=[BoundedFailures, in_memory])
def budget(request: pytest.FixtureRequest) -> FailureBudget:
    make: Callable[[], FailureBudget] = request.param
    return make()


async def test_a_budget_that_is_used_up_refuses_with_retry_after(budget: FailureBudget) -> None:
    for _ in range(AMOUNT):
        await budget.check("192.0.2.7")
        await budget.count("192.0.2.7")
    with pytest.raises(Denied) as caught:
        await budget.check("192.0.2.7")
    assert caught.value.reason is Reason.AUTHENTICATION_THROTTLED
    assert int(dict(caught.value.headers)["Retry-After"]) >= 1


async def test_asking_costs_nothing(budget: FailureBudget) -> None:
    for _ in range(AMOUNT * 3):
        await budget.check("192.0.2.7")
