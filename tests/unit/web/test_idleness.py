"""One timer for many requests: the end comes when nothing has come for the whole time, and not earlier."""

import asyncio

from gateway.web.idleness import Idleness
from tests.virtual_time import run_virtually

SECONDS = 30.0


class Watched:
    def __init__(self) -> None:
        self.busy = False
        self.ended: list[float] = []
        self.loop = asyncio.get_running_loop()
        self.idleness = Idleness(self.loop, SECONDS, lambda: self.busy, self.end)

    def end(self) -> None:
        self.ended.append(self.loop.time())


def test_it_counts_from_the_last_answer() -> None:
    run_virtually(_it_counts_from_the_last_answer())


async def _it_counts_from_the_last_answer() -> None:
    watched = Watched()
    for _ in range(5):
        watched.idleness.begin()
        last = watched.loop.time()
        await asyncio.sleep(SECONDS / 2)
    assert watched.ended == []
    await asyncio.sleep(SECONDS * 2)
    (ended,) = watched.ended
    assert ended - last >= SECONDS * 0.99


def test_who_is_busy_is_not_idle() -> None:
    run_virtually(_who_is_busy_is_not_idle())


async def _who_is_busy_is_not_idle() -> None:
    watched = Watched()
    watched.idleness.begin()
    watched.busy = True
    await asyncio.sleep(SECONDS * 2.5)
    assert watched.ended == []
    watched.busy = False
    watched.idleness.begin()
    await asyncio.sleep(SECONDS * 2.5)
    assert len(watched.ended) == 1


def test_after_the_end_nothing_is_called() -> None:
    run_virtually(_after_the_end_nothing_is_called())


async def _after_the_end_nothing_is_called() -> None:
    watched = Watched()
    watched.idleness.begin()
    watched.idleness.end()
    watched.idleness.end()
    await asyncio.sleep(SECONDS * 2)
    assert watched.ended == []
