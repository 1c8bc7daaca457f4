"""Numbers that every write raises, of several processes, and of a store that goes away."""

import time

from gateway.edges.shared_generations import SharedGenerations
from gateway.edges.store import Store
from gateway.edges.store_client import ERRORS, connect_to
from lab.store import StoreServer
from tests.store_world import new_store


async def test_a_write_at_one_process_is_noticed_by_the_other(store_server: StoreServer) -> None:
    async with new_store(store_server) as store:
        here, there = SharedGenerations(store), SharedGenerations(store)
        assert await here.of("jobs\x1falice") == 0
        seen = {0}
        for _ in range(3):
            await there.advance("jobs\x1falice")
            number = await here.of("jobs\x1falice")
            assert number not in seen
            assert number == await there.of("jobs\x1falice")
            seen.add(number)
        assert await here.of("jobs\x1fbob") == 0
        assert here.at_once("jobs\x1falice") is None


async def test_while_the_store_is_away_no_number_is_one_that_was_told_before() -> None:
    client = connect_to("unix:/nonexistent/store.sock", connections=1)
    away = Store(
        client, "x", errors=ERRORS, timeout_seconds=30, retry_seconds=60, monotonic=time.monotonic
    )
    generations = SharedGenerations(away)
    await generations.advance("a")
    assert len({await generations.of("a") for _ in range(5)} - {0}) == 5
    await away.close()


async def test_a_write_that_could_not_be_told_is_told_later(store_server: StoreServer) -> None:
    async with new_store(store_server, retry_seconds=0.0) as store:
        here, there = SharedGenerations(store), SharedGenerations(store)
        await here.advance("a")
        before = await there.of("a")
        store.problem, store._try_at = "away", float("inf")
        await here.advance("a")
        assert await there.of("a") < 0
        store._try_at = 0.0
        assert await here.of("a") > before
        assert await there.of("a") > before
