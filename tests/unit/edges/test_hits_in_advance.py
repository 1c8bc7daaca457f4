"""Hits that are counted before they come: spent once, in time, and never many too many or too few."""

import asyncio
import uuid
from contextlib import AsyncExitStack, suppress

import pytest

from gateway.edges.buckets import MemoryBuckets
from gateway.edges.hits_in_advance import _SWEPT_ABOVE, PARTS, HitsInAdvance
from gateway.edges.shared_buckets import RefuseWhenAway, SharedBuckets, ShareWhenAway
from gateway.edges.store import Store
from gateway.stages.limit import Rate, WouldWait
from lab.store import StoreServer
from tests.store_world import new_store

HOUR = Rate("read", 1000, 3600)


class Watch:
    """A clock that stands."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_is_spent_once() -> None:
    ahead = HitsInAdvance(10)
    assert ahead.wanted(HOUR, "a") == 100
    ahead.keep(HOUR, "a", 3)
    assert ahead.wanted(HOUR, "a") == 0
    assert [ahead.spend("a") for _ in range(5)] == [True] * 3 + [False] * 2
    assert ahead.wanted(HOUR, "a") == 100
    assert not ahead.spend("b")


@pytest.mark.parametrize("hits", [1, 2])
def test_they_end_with_the_window_that_they_were_counted_in(hits: int) -> None:
    watch = Watch()
    ahead = HitsInAdvance(10, watch)
    ahead.keep(HOUR, "a", hits)
    watch.now += 3600
    assert not ahead.spend("a")
    assert ahead.wanted(HOUR, "a") == 100


def test_small_rates_have_none_and_neither_has_who_wants_none() -> None:
    assert HitsInAdvance(1001).wanted(HOUR, "a") == 0
    assert HitsInAdvance().wanted(HOUR, "a") == 0


def test_what_has_ended_does_not_stay_in_memory() -> None:
    watch = Watch()
    ahead = HitsInAdvance(10, watch)
    for turn in range(3):
        for number in range(_SWEPT_ABOVE):
            ahead.keep(HOUR, f"{turn} {number}", 2)
        watch.now += 3600
    assert len(ahead._left) <= _SWEPT_ABOVE


async def test_what_the_store_has_counted_need_not_be_waited_for(store_server: StoreServer) -> None:
    async with new_store(store_server) as store:
        shared = SharedBuckets(store, "limits", HitsInAdvance(100))
        for rates in (ShareWhenAway(shared, MemoryBuckets(), 1), RefuseWhenAway(shared)):
            assert await rates.hit(HOUR, "a") is None
            for _ in range(10):
                assert rates.hit_at_once(HOUR, "a") is None
            with pytest.raises(WouldWait):
                rates.hit_at_once(HOUR, "a")
        asked = await calls_of(store)
        assert await shared.hit(HOUR, "b") is None
        assert await shared.hit(HOUR, "b") is None
        assert await calls_of(store) == asked + 1


async def test_near_the_end_of_a_rate_each_is_asked_for(store_server: StoreServer) -> None:
    async with new_store(store_server) as store:
        rates = SharedBuckets(store, "limits", HitsInAdvance(2))
        few = Rate("read", 5, 3600)  # three at once, then those that are left
        assert [await rates.hit(few, "a") is None for _ in range(6)] == [True] * 5 + [False]


async def test_many_who_come_together_take_one_advance(store_server: StoreServer) -> None:
    async with new_store(store_server) as store:
        ahead = HitsInAdvance(100)
        rates = SharedBuckets(store, "limits", ahead)
        await asyncio.gather(*(rates.hit(HOUR, "a") for _ in range(50)))
        assert ahead._left["a"].hits <= 10


@pytest.mark.parametrize("processes", [1, 4])
async def test_all_processes_together_admit_the_amount_within_a_hundredth(
    store_server: StoreServer, processes: int
) -> None:
    """With repeats that never wait among them; exactly, where none is left unspent."""
    async with AsyncExitStack() as stack:
        shared, prefix = [], uuid.uuid4().hex
        for _ in range(processes):
            store = await stack.enter_async_context(new_store(store_server))
            store.prefix = prefix
            shared.append(SharedBuckets(store, "limits", HitsInAdvance(PARTS * processes)))
        rate, admitted, at_once = Rate("read", 8000, 3600), 0, 0
        for number in range(3 * rate.amount):
            rates = shared[number * 7 % processes]
            with suppress(WouldWait):
                admitted += rates.hit_at_once(rate, "a") is None
                at_once += 1
                continue
            admitted += await rates.hit(rate, "a") is None
        assert 0.99 * rate.amount <= admitted <= rate.amount
        assert at_once > rate.amount / 2


async def calls_of(store: Store) -> int:
    told = await store.client.info("commandstats")
    return int(told.get("cmdstat_evalsha", {}).get("calls", 0))
