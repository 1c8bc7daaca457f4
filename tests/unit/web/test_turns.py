"""One task for all exchanges of a connection: each runs, in order, and the server sees who is busy."""

import asyncio
import gc
from typing import Any

from gateway.web.turns import Turns
from tests.unit.web.test_http_protocol import Connection


class Exchange:
    """Runs until its gate opens and notes its name."""

    def __init__(self, name: str, done: list[str]) -> None:
        self.name, self.done = name, done
        self.gate = asyncio.Event()
        self.tasks: set[asyncio.Task[Any] | None] = set()

    async def fail(self, error: BaseException) -> None:
        self.done.append(type(error).__name__)

    async def run(self) -> None:
        self.tasks.add(asyncio.current_task())
        await self.gate.wait()
        self.done.append(self.name)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def make() -> tuple[Turns, set[asyncio.Task[None]], list[str]]:
    tasks: set[asyncio.Task[None]] = set()
    return Turns(asyncio.get_running_loop(), tasks, lambda: None), tasks, []


async def test_exchanges_run_one_after_the_other_in_the_same_task() -> None:
    turns, tasks, done = make()
    first, second = Exchange("first", done), Exchange("second", done)
    for exchange in (first, second):
        turns.start(exchange)
        await settle()
        assert len(tasks) == 1, "busy"
        exchange.gate.set()
        await settle()
        assert not tasks, "waiting"
    assert done == ["first", "second"]
    assert first.tasks == second.tasks
    turns.end()


async def test_an_exchange_that_is_due_before_the_last_has_returned_is_not_lost() -> None:
    turns, tasks, done = make()
    first, second = Exchange("first", done), Exchange("second", done)
    second.gate.set()
    turns.start(first)
    await settle()
    turns.start(second)
    first.gate.set()
    await settle()
    assert done == ["first", "second"]
    assert not tasks
    turns.end()


async def test_the_task_ends_with_its_connection_waiting_or_busy() -> None:
    for is_busy in (False, True):
        turns, tasks, done = make()
        exchange = Exchange("only", done)
        turns.start(exchange)
        await settle()
        (task,) = tasks
        if is_busy:
            turns.end()
        exchange.gate.set()
        await settle()
        if not is_busy:
            assert not task.done()
            turns.end()
            await settle()
        assert task.done()
        assert not tasks
        assert done == ["only"]


class Forgetful(list[Any]):
    """Keeps nothing, so that only circles could keep a request alive."""

    def append(self, _: Any) -> None:
        """Forget it."""


async def test_a_request_leaves_nothing_for_the_garbage_collector() -> None:
    """Thirteen objects each were left before, which took a tenth of the time under load."""
    connection = Connection()
    connection.scopes = Forgetful()
    connection.clients = Forgetful()
    request = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
    await connection.feed(request)
    gc.collect()
    gc.disable()
    try:
        await connection.feed(*[request] * 50)
        left = gc.collect()
    finally:
        gc.enable()
    assert connection.statuses == [200] * 51
    assert left < 50
