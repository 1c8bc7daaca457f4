"""Rides ask slurmrestd only while its daemon is well, and what they hear counts as what visits hear."""

from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.guarded_rides import GuardedRides
from gateway.edges.upstream_answer import Answer, Failure, UpstreamFailed
from gateway.model import Grant, NoLease
from gateway.stages.breaker import Breaker, Daemon
from gateway.stages.forward import own_head
from tests.cache_world import grant_for
from tests.fakes import FakeClock, make_call
from tests.upstream_kit import READ

GRANT = grant_for()
ACCOUNTED = make_call("/slurmdb/{version}/jobs")
AWAY = b'{"errors":[{"error_number":1800}]}'
TOKEN = ("alice", "t")


class Slurmrestd:
    """A connection is always there. `error` is what `recover` and `examined` raise."""

    error: Denied | None = None

    def write_head(self, grant: Grant) -> bytes:
        return b"HEAD"

    def seconds_for(self, grant: Grant) -> float:
        return 25.0

    def take(self, *_: Any) -> object:
        return self

    async def recover(self, grant: Grant, failure: UpstreamFailed) -> Answer:
        assert self.error is not None
        raise self.error

    async def examined(self, grant: Grant, answer: Answer) -> Answer:
        if self.error is not None:
            raise self.error
        return answer


class World:
    def __init__(self) -> None:
        self.clock, self.slurmrestd = FakeClock(), Slurmrestd()
        self.breaker = Breaker(5.0, self.clock)
        self.rides, self.others = (
            GuardedRides(self.slurmrestd, self.breaker, self.clock, call)
            for call in (READ, ACCOUNTED)
        )

    def may_ride(self, rides: GuardedRides | None = None) -> bool:
        return (rides or self.rides).take(TOKEN, "v0.0.38", NoLease()) is not None

    async def hear(self, status: int, body: bytes = b"{}") -> None:
        await self.rides.examined(GRANT, Answer(own_head(status, len(body), ()), body))

    async def fail(self, reason: Reason) -> None:
        self.slurmrestd.error = Denied(reason)
        with pytest.raises(Denied):
            await self.rides.recover(GRANT, UpstreamFailed(Failure.SILENT))


@pytest.fixture
def world() -> World:
    return World()


async def test_nothing_is_ridden_while_calls_are_refused(world: World) -> None:
    assert world.may_ride()
    world.breaker.failed(READ)
    assert not world.may_ride()
    assert world.may_ride(world.others)
    world.clock.advance(5.0)
    assert not world.may_ride(), "a ride is no probe"
    world.breaker.admit(READ)
    world.breaker.succeeded(READ)
    assert world.may_ride()


async def test_an_answer_that_slurm_is_away_opens_it(world: World) -> None:
    await world.hear(500, AWAY)
    assert world.breaker.is_open(Daemon.SLURMCTLD)


@pytest.mark.parametrize(
    ("reason", "is_well"),
    [(Reason.UPSTREAM_TIMEOUT, False), (Reason.UPSTREAM_UNREACHABLE, True), (Reason.BUSY, True)],
)
async def test_after_a_doubt_the_next_ones_are_visits(
    world: World, reason: Reason, is_well: bool
) -> None:
    """So that three in a row are three in a row; a good answer of one of them ends it."""
    await world.fail(reason)
    assert world.may_ride() is is_well
    world.breaker.admit(READ)
    world.breaker.succeeded(READ)
    assert world.may_ride()


async def test_an_error_of_the_callers_own_is_an_answer(world: World) -> None:
    world.breaker.doubted(READ)
    await world.hear(404, b'{"errors":[{"error_number":2017}]}')
    assert world.may_ride()


async def test_an_error_of_slurmrestds_own_is_none(world: World) -> None:
    world.breaker.doubted(READ)
    await world.hear(400, b'{"errors":[{"error_number":9202}]}')
    assert not world.may_ride()


def test_what_is_asked_stays_the_same(world: World) -> None:
    assert world.rides.write_head(GRANT) == b"HEAD"
    assert world.rides.seconds_for(GRANT) == 25.0
