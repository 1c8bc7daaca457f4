"""What every RateStore keeps: run on the fake and on the real one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from gateway.edges.buckets import MemoryBuckets, read_rate
from gateway.edges.shared_buckets import RefuseWhenAway, SharedBuckets, ShareWhenAway
from gateway.stages.limit import Rate, RateStore
from tests.fakes import FakeRateStore
from tests.store_world import new_store

HOUR = Rate("read", 5, 3600)


@pytest.fixture(params=["fake", "memory", "store, or a share", "store, or refuse"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[RateStore]:
    async with AsyncExitStack() as stack:
        match request.param:
            case "fake":
                yield FakeRateStore()
            case "memory":
                yield MemoryBuckets()
            case how:
                server = request.getfixturevalue("store_server")
                shared = SharedBuckets(await stack.enter_async_context(new_store(server)), "limits")
                share = ShareWhenAway(shared, MemoryBuckets(), 1)
                yield share if how == "store, or a share" else RefuseWhenAway(shared)


async def test_exactly_the_amount_passes_and_keys_do_not_share(store: RateStore) -> None:
    answers = [await store.hit(HOUR, "a") for _ in range(8)]
    assert [answer is None for answer in answers] == [True] * 5 + [False] * 3
    assert await store.hit(HOUR, "b") is None


async def test_a_refusal_says_when_within_two_windows(store: RateStore) -> None:
    for _ in range(5):
        await store.hit(HOUR, "a")
    refusal = await store.hit(HOUR, "a")
    assert refusal is not None
    assert 0 <= refusal.retry_seconds <= 2 * HOUR.window_seconds


async def test_a_thousand_at_once_never_admit_more_than_the_amount(store: RateStore) -> None:
    answers = await asyncio.gather(*(store.hit(Rate("read", 50, 3600), "a") for _ in range(1000)))
    assert sum(answer is None for answer in answers) == 50


async def test_after_the_announced_time_a_request_passes_and_not_long_before() -> None:
    """In real time, because the library reads the clock itself."""
    buckets, rate = MemoryBuckets(), Rate("read", 3, 1)
    for _ in range(200):
        if (refusal := await buckets.hit(rate, "a")) is not None:
            break
    assert refusal is not None
    await asyncio.sleep(refusal.retry_seconds + 0.02)
    assert await buckets.hit(rate, "a") is None


async def test_forgotten_keys_leave_no_memory_behind() -> None:
    buckets, rate = MemoryBuckets(), Rate("read", 3, 1)
    for number in range(1000):
        await buckets.hit(rate, str(number))
    buckets._storage._sweep(float("inf"))
    assert not buckets._storage.expirations
    assert not buckets._storage.storage


@pytest.mark.parametrize(
    ("text", "amount", "window_seconds"),
    [("50/second", 50, 1), ("600 per 5 minutes", 600, 300), ("1/day", 1, 86400)],
)
def test_rates_are_read_as_the_library_writes_them(
    text: str, amount: int, window_seconds: int
) -> None:
    assert read_rate("read", text) == Rate("read", amount, window_seconds)
