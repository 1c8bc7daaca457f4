"""Turns that processes take by a lease in the store: one after the other, also where one dies or is cut off."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.shared_turns import SharedTurns
from gateway.edges.store import Store, StoreAway
from gateway.edges.store_client import ERRORS, connect_to
from lab.store import StoreServer
from tests.store_world import new_store

PATIENT = 60.0


def nothing() -> None:
    """Nobody waits for a slot here."""


@pytest.fixture
async def store(store_server: StoreServer) -> AsyncIterator[Store]:
    async with new_store(store_server) as made:
        yield made


def turns(store: Store, name: str, lease_seconds: float = PATIENT) -> SharedTurns:
    return SharedTurns(store, name, time.monotonic, lease_seconds)


async def test_no_two_processes_have_a_turn_at_the_same_time(store: Store) -> None:
    processes = [turns(store, str(number)) for number in range(4)]
    running, most, done = 0, 0, 0

    async def work(process: SharedTurns) -> None:
        nonlocal running, most, done
        async with process.turn("k", "f", PATIENT, nothing):
            running += 1
            most = max(most, running)
            for _ in range(5):
                await asyncio.sleep(0)
            running -= 1
            done += 1

    await asyncio.gather(*(work(process) for process in processes for _ in range(5)))
    assert (most, done) == (1, 20)


async def test_keys_do_not_wait_for_each_other(store: Store) -> None:
    here, there = turns(store, "here"), turns(store, "there")
    async with here.turn("a", "f", PATIENT, nothing), there.turn("b", "f", 0.0, nothing):
        assert not here.is_lost("a")
        assert not there.is_lost("b")
        assert there.is_lost("a")


async def test_who_waits_too_long_is_told_and_gives_up_its_slot(store: Store) -> None:
    here, there = turns(store, "here"), turns(store, "there")
    left: list[bool] = []
    async with here.turn("k", "f", PATIENT, nothing):
        with pytest.raises(Denied) as caught:
            async with there.turn("k", "f", 0.0, lambda: left.append(True)):
                raise AssertionError("it had a turn")
    assert caught.value.reason is Reason.IDEMPOTENCY_IN_PROGRESS
    assert left
    async with there.turn("k", "f", 0.0, nothing):
        pass


async def test_the_turn_of_a_process_that_has_died_ends_by_itself(store: Store) -> None:
    dead, other = turns(store, "dead", 0.05), turns(store, "other")
    assert await dead._ask("take", "k", "dead:1")
    async with other.turn("k", "f", PATIENT, nothing):
        assert not await dead._ask("keep", "k", "dead:1")
        assert not await dead._ask("give back", "k", "dead:1")
        assert not other.is_lost("k")


async def test_a_turn_lasts_as_long_as_it_is_needed(store: Store) -> None:
    here, there = turns(store, "here", 3.0), turns(store, "there", 3.0)
    async with here.turn("k", "f", PATIENT, nothing):
        end = time.monotonic() + 6
        while time.monotonic() < end:
            assert not await there._ask("take", "k", "there:1")
            await asyncio.sleep(0.05)


async def test_a_turn_that_was_taken_away_is_lost(store: Store) -> None:
    here = turns(store, "here", 0.3)
    async with here.turn("k", "f", PATIENT, nothing):
        await store.client.set(f"{store.prefix}:turn:k", "somebody else")
        async with asyncio.timeout(PATIENT):
            while not here.is_lost("k"):  # noqa: ASYNC110 (a clock, which sets no event)
                await asyncio.sleep(0.01)
    assert await store.client.get(f"{store.prefix}:turn:k") == b"somebody else"


async def test_while_the_store_is_away_nobody_has_a_turn() -> None:
    client = connect_to("unix:/nonexistent/store.sock", connections=1)
    away = Store(
        client, "x", errors=ERRORS, timeout_seconds=30, retry_seconds=60, monotonic=time.monotonic
    )
    with pytest.raises(Denied) as caught:
        async with turns(away, "here").turn("k", "f", PATIENT, nothing):
            raise AssertionError("it had a turn")
    assert caught.value.reason is Reason.IDEMPOTENCY_UNAVAILABLE
    assert dict(caught.value.headers)["Retry-After"]
    with pytest.raises(StoreAway):
        await away.ask("test", client.ping)
    await away.close()


async def test_what_another_process_began_may_have_been_sent_a_moment_ago(store: Store) -> None:
    here = turns(store, "here")
    before = time.monotonic()
    first = here.broken_at("k", is_ours=False)
    assert first >= before
    assert here.broken_at("k", is_ours=False) == first
