"""Rates that all processes count together: what becomes of them while the store is away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

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
from gateway.edges.shared_bindings import SharedBindings
from gateway.edges.shared_buckets import RefuseWhenAway, SharedBuckets, ShareWhenAway, share_of
from gateway.edges.shared_keys import SharedKeys
from gateway.edges.shared_sessions import SharedSessions
from gateway.edges.store import Store, StoreAway
from gateway.edges.store_client import ERRORS, connect_to
from gateway.sign_in.session import SessionDoubt
from gateway.stages.authenticate import Attempt
from gateway.stages.idempotency import KeyStoreDoubt
from gateway.stages.limit import Rate, WouldWait
from gateway.stages.map_user import Binding, DirectoryDoubt
from lab.store import StoreServer
from tests.store_world import new_store

HOUR = Rate("read", 40, 3600)
ATTEMPT = Attempt("192.0.2.7", "alice", b"digest", claims_to_be_expired=False)
RATES = FailureRates(HOUR, HOUR, HOUR, 7200.0)


@pytest.fixture
async def away() -> AsyncIterator[Store]:
    client = connect_to("unix:/nonexistent/store.sock", connections=1)
    store = Store(
        client,
        "example",
        errors=ERRORS,
        timeout_seconds=30.0,
        retry_seconds=60.0,
        monotonic=lambda: 100.0,
    )
    yield store
    await store.close()


@pytest.mark.parametrize(("processes", "admitted"), [(1, 40), (4, 10), (100, 1)])
async def test_while_the_store_is_away_a_process_admits_its_share(
    away: Store, processes: int, admitted: int
) -> None:
    rates = ShareWhenAway(SharedBuckets(away, "limits"), MemoryBuckets(), processes)
    answers = [await rates.hit(HOUR, "a") for _ in range(100)]
    assert sum(answer is None for answer in answers) == admitted
    assert away.missed == {"limits": 100}
    assert share_of(HOUR, processes).amount == admitted


async def test_a_setting_refuses_instead(away: Store) -> None:
    rates = RefuseWhenAway(SharedBuckets(away, "limits"))
    with pytest.raises(Denied) as caught:
        await rates.hit(HOUR, "a")
    assert caught.value.reason is Reason.LIMITS_UNAVAILABLE
    assert dict(caught.value.headers)["Retry-After"]
    assert "store.sock" not in caught.value.detail


async def test_what_has_to_be_waited_for_is_never_answered_at_once(away: Store) -> None:
    shared = SharedBuckets(away, "limits")
    for rates in (ShareWhenAway(shared, MemoryBuckets(), 1), RefuseWhenAway(shared)):
        with pytest.raises(WouldWait):
            rates.hit_at_once(HOUR, "a")


async def test_two_processes_admit_the_amount_together_and_share_nothing_else(
    store_server: StoreServer,
) -> None:
    async with new_store(store_server) as store:
        one, other = SharedBuckets(store, "limits"), SharedBuckets(store, "limits")
        answers = [await rates.hit(HOUR, "a") for _ in range(40) for rates in (one, other)]
        assert sum(answer is None for answer in answers) == 40
        assert await SharedBuckets(store, "other").hit(HOUR, "a") is None


async def test_no_name_of_anybody_stands_in_the_store(store_server: StoreServer) -> None:
    async with new_store(store_server) as store:
        await SharedBuckets(store, "limits").hit(HOUR, "read\x1fhttps://idp\x1falice")
        attempts = SharedAttempts(RATES, SharedBuckets(store, USE), store, AttemptMemory())
        for _ in range(40):
            await attempts.count(ATTEMPT, is_expired=False)
        keys = await store.client.keys(f"{store.prefix}:*")
        assert len(keys) >= 3
        assert not [key for key in keys if b"alice" in key or b"192.0.2.7" in key]
        assert not [key for key in keys if await store.client.pttl(key) <= 0], "all of it ends"


async def test_a_process_hears_of_what_failed_at_another_and_longer_each_time(
    store_server: StoreServer,
) -> None:
    async with new_store(store_server) as store:
        memories = AttemptMemory(), AttemptMemory()
        here, there = (
            SharedAttempts(RATES, SharedBuckets(store, USE), store, memory) for memory in memories
        )
        for _ in range(40):
            await here.check(ATTEMPT)
            await here.count(ATTEMPT, is_expired=False)
        with pytest.raises(Denied) as caught:
            await there.check(ATTEMPT)
        first = int(dict(caught.value.headers)["Retry-After"])
        assert caught.value.reason is Reason.AUTHENTICATION_THROTTLED
        assert memories[1].refused["subject"] == 1
        await there.count(ATTEMPT, is_expired=False)
        with pytest.raises(Denied) as caught:
            await here.check(ATTEMPT)
        assert first < int(dict(caught.value.headers)["Retry-After"]) <= RATES.longest_seconds
        await here.check(ATTEMPT._replace(address="192.0.2.8"))


@pytest.mark.parametrize(("strategy", "is_heard"), [("share", True), ("refuse", False)])
async def test_attempts_while_the_store_is_away(away: Store, strategy: str, is_heard: bool) -> None:
    memory = AttemptMemory()
    shared = SharedAttempts(RATES, SharedBuckets(away, USE), away, memory)
    local = FailedAttempts(RATES, MemoryBuckets(), memory, lambda: 100.0)
    budget = (AttemptsWhenAway if strategy == "share" else RefuseUnknownWhenAway)(shared, local)
    budget.trust(b"known")
    await budget.check(ATTEMPT._replace(digest=b"known"))
    if is_heard:
        await budget.check(ATTEMPT)
        for _ in range(HOUR.amount):
            await budget.count(ATTEMPT, is_expired=False)
    with pytest.raises(Denied) as caught:
        await budget.check(ATTEMPT)
    throttled, away_from = Reason.AUTHENTICATION_THROTTLED, Reason.LIMITS_UNAVAILABLE
    assert caught.value.reason is (throttled if is_heard else away_from)


async def test_hits_that_come_together_are_asked_together(store_server: StoreServer) -> None:
    async with new_store(store_server) as store:
        before = await calls(store)
        rates = SharedBuckets(store, "limits")
        answers = await asyncio.gather(*(rates.hit(HOUR, f"k{n % 3}") for n in range(300)))
        assert sum(answer is None for answer in answers) == 3 * HOUR.amount
        assert await calls(store) - before <= 3


async def calls(store: Store) -> int:
    told: dict[str, dict[str, int]] = await store.client.info("commandstats")
    return told.get("cmdstat_evalsha", {}).get("calls", 0)


async def test_a_hit_that_nobody_waits_for_any_more_disturbs_no_other(
    store_server: StoreServer,
) -> None:
    async with new_store(store_server) as store:
        rates = SharedBuckets(store, "limits")
        for number in range(40):
            hits = [asyncio.create_task(rates.hit(HOUR, f"{number} {n}")) for n in range(5)]
            for _ in range(number % 6):
                await asyncio.sleep(0)
            hits[2].cancel()
            done = await asyncio.gather(*hits, return_exceptions=True)
            assert [answer for place, answer in enumerate(done) if place != 2] == [None] * 4


async def test_while_the_store_is_away_every_hit_of_a_batch_is_told(away: Store) -> None:
    rates = SharedBuckets(away, "limits")
    answers = await asyncio.gather(
        *(rates.hit(HOUR, "a") for _ in range(7)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreAway] * 7
    assert away.missed == {"limits": 7}


@pytest.mark.parametrize("use", ["sessions", "keys", "bindings"])
async def test_what_must_be_right_is_doubted_while_the_store_is_away(
    away: Store, tmp_path: Path, use: str
) -> None:
    match use:
        case "sessions":
            with pytest.raises(SessionDoubt, match="store"):
                await SharedSessions(away).find("nobody")
        case "keys":
            keys = SharedKeys(away)
            with pytest.raises(KeyStoreDoubt, match="store"):
                await keys.forget("nothing")
            assert "store" in keys.problem
        case _:
            with pytest.raises(DirectoryDoubt):
                await SharedBindings(away, tmp_path).bind(Binding("issuer", "1", "alice"))


class Broken(Store):
    """A store with a fault of its own."""

    async def run(self, *_: object) -> object:
        raise ZeroDivisionError


async def test_a_fault_is_told_to_all_who_wait_for_it() -> None:
    client = connect_to("unix:/nonexistent/store.sock", connections=1)
    broken = Broken(
        client, "x", errors=ERRORS, timeout_seconds=30, retry_seconds=60, monotonic=lambda: 0.0
    )
    rates = SharedBuckets(broken, "limits")
    answers = await asyncio.gather(
        *(rates.hit(HOUR, "a") for _ in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreAway] * 3
    with pytest.raises(StoreAway):
        await rates.hit(HOUR, "a")
    await broken.close()
