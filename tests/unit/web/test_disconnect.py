"""A client that goes away cancels what serves it, once, and only while that is harmless."""

import asyncio

import pytest

from gateway.web.client import client_of
from gateway.web.disconnect import ClientWatch
from tests.asgi_client import AsgiClient

WAYS = pytest.mark.parametrize("offers", [("client",), ()], ids=["own protocol", "any server"])


async def serve(client: AsgiClient, *, cuttable: bool, seconds: float = 5.0) -> str:
    watch = ClientWatch(client_of(client.scope, client.receive, client.send))
    watch.is_cuttable = cuttable
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        if not watch.swallow_cancel():
            raise
        return "cut"
    finally:
        watch.stop()
    return "gone" if watch.is_gone else "served"


@WAYS
@pytest.mark.parametrize(("cuttable", "outcome"), [(True, "cut"), (False, "gone")])
async def test_a_client_that_hangs_up(
    cuttable: bool, outcome: str, offers: tuple[str, ...]
) -> None:
    client = AsgiClient(offers=offers)
    serving = asyncio.create_task(
        serve(client, cuttable=cuttable, seconds=5.0 if cuttable else 0.5)
    )
    await asyncio.sleep(0.1)
    client.hang_up()
    assert await serving == outcome
    assert client.callbacks == []


@WAYS
async def test_a_client_that_stays_is_not_watched_any_longer(offers: tuple[str, ...]) -> None:
    client = AsgiClient(offers=offers)
    assert await serve(client, cuttable=True, seconds=0.05) == "served"
    client.hang_up()
    await asyncio.sleep(0.01)
    assert client.callbacks == []
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_an_answer_that_is_quick_costs_no_task() -> None:
    client = AsgiClient(offers=())
    await serve(client, cuttable=True, seconds=0.001)
    assert client.received == 0


async def test_somebody_elses_cancellation_is_not_swallowed() -> None:
    client = AsgiClient()
    serving = asyncio.create_task(serve(client, cuttable=True))
    await asyncio.sleep(0.01)
    serving.cancel()
    await asyncio.wait([serving])
    assert serving.cancelled()


async def test_nor_is_it_if_both_happen_at_once() -> None:
    client = AsgiClient()
    serving = asyncio.create_task(serve(client, cuttable=True))
    await asyncio.sleep(0.01)
    client.hang_up()
    serving.cancel()
    await asyncio.wait([serving])
    assert serving.cancelled()
