"""Every budget of failed authentications lets its amount through and then says when to come back."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.buckets import MemoryBuckets
from gateway.edges.failed_attempts import AttemptMemory, FailedAttempts, FailureRates
from gateway.edges.shared_attempts import (
    USE,
    AttemptsWhenAway,
    RefuseUnknownWhenAway,
    SharedAttempts,
)
from gateway.edges.shared_buckets import SharedBuckets
from gateway.edges.store import Store
from gateway.stages.authenticate import Attempt, FailureBudget
from gateway.stages.limit import Rate
from tests.store_world import new_store
from tests.tokens import FakeFailures

AMOUNT = 3
ATTEMPT = Attempt("192.0.2.7", "alice", b"digest", claims_to_be_expired=False)


class BoundedFailures(FakeFailures):
    """The fake, with an amount."""

    async def count(self, attempt: Attempt, *, is_expired: bool) -> None:
        await super().count(attempt, is_expired=is_expired)
        if len(self.counted) >= AMOUNT:
            self.refusal = Denied(Reason.AUTHENTICATION_THROTTLED, headers=(("Retry-After", "1"),))


RATE = Rate("failed-authentications", AMOUNT, 3600)
RATES = FailureRates(RATE, RATE, RATE, longest_seconds=7200.0)


def in_memory(memory: AttemptMemory) -> FailedAttempts:
    return FailedAttempts(RATES, MemoryBuckets(), memory, time.monotonic)


def shared_by(store: Store, memory: AttemptMemory) -> SharedAttempts:
    return SharedAttempts(RATES, SharedBuckets(store, USE), store, memory)


@pytest.fixture(params=["fake", "memory", "store, or a share", "store, or refuse"])
async def budget(request: pytest.FixtureRequest) -> AsyncIterator[FailureBudget]:
    async with AsyncExitStack() as stack:
        memory = AttemptMemory()
        match request.param:
            case "fake":
                yield BoundedFailures()
            case "memory":
                yield in_memory(memory)
            case how:
                server = request.getfixturevalue("store_server")
                shared = shared_by(await stack.enter_async_context(new_store(server)), memory)
                local = in_memory(memory)
                is_share = how == "store, or a share"
                yield (AttemptsWhenAway if is_share else RefuseUnknownWhenAway)(shared, local)


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
