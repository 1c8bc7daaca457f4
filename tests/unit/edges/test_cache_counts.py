"""What became of reads is counted once each, as their Cache-Status says it."""

import asyncio

import pytest

from gateway.denial import Denied
from gateway.model import CacheWish, Risk
from tests.cache_world import CacheWorld, grant_for, headers_of
from tests.fakes import make_call
from tests.upstream_kit import SUBMIT, settled

AWAY = b'{"errors":[{"error_number":1800}]}'
CONF = make_call("/slurm/{version}/conf", risk=Risk.READ_SENSITIVE)


@pytest.fixture
def world() -> CacheWorld:
    return CacheWorld(stale_seconds=30.0, maximum_answer_bytes=1000)


async def test_misses_hits_and_what_has_expired_or_is_asked_for_anew(world: CacheWorld) -> None:
    for _ in range(3):
        await world.ask()
    world.clock.advance(0.5)
    await world.ask(cache_wish=CacheWish("", 0.0))
    world.clock.advance(2.0)
    await world.ask()
    assert world.counts.answers == {"miss": 1, "hit": 2, "refresh": 1, "expired": 1}
    assert world.counts.calls == len(world.slurm.sent) == 3


async def test_who_joins_a_flight_costs_no_call(world: CacheWorld) -> None:
    world.slurm.hold = asyncio.Event()
    asking = [asyncio.create_task(world.ask()) for _ in range(5)]
    await settled(lambda: world.slurm.sent)
    world.slurm.hold.set()
    await asyncio.gather(*asking)
    assert world.counts.answers == {"miss": 1, "collapsed": 4}
    assert world.counts.calls == 1


async def test_what_a_client_has_is_counted_as_such(world: CacheWorld) -> None:
    tag = headers_of(await world.ask())["etag"]
    for _ in range(2):
        assert (await world.ask(if_none_match=tag)).head.status == 304
    await world.ask(if_none_match='"another"')
    assert world.counts.answers == {"miss": 1, "hit": 3}
    assert world.counts.not_modified == 2


async def test_answers_while_slurm_is_away_and_calls_that_are_not_made(world: CacheWorld) -> None:
    await world.ask()
    world.slurm.status, world.slurm.body = 500, lambda _: AWAY
    world.clock.advance(2.0)
    await world.ask()
    await world.ask()
    with pytest.raises(Denied):
        await world.ask(grant_for("bob"))
    assert world.counts.answers == {"miss": 1, "stale": 2}
    assert world.counts.calls == len(world.slurm.sent) == 2


@pytest.mark.parametrize(("status", "body"), [(200, b"x" * 1001), (404, b"{}")])
async def test_what_cannot_be_kept_has_passed(world: CacheWorld, status: int, body: bytes) -> None:
    world.slurm.status, world.slurm.body = status, lambda _: body
    (await world.ask()).close()
    assert world.counts.answers == {"passed": 1}


async def test_who_has_to_ask_alone_is_counted_as_a_call(world: CacheWorld) -> None:
    world.slurm.body, world.slurm.hold = (lambda _: b"x" * 1001), asyncio.Event()
    asking = [asyncio.create_task(world.ask()) for _ in range(3)]
    await settled(lambda: world.slurm.sent)
    world.slurm.hold.set()
    for answer in await asyncio.gather(*asking):
        answer.close()
    assert world.counts.answers == {"passed": 3}
    assert world.counts.calls == len(world.slurm.sent) == 3


async def test_writes_and_what_is_never_kept_are_not_counted(world: CacheWorld) -> None:
    for call in (SUBMIT, CONF):
        await world.ask(grant_for(call=call))
    assert (world.counts.answers, world.counts.calls) == ({}, 0)
