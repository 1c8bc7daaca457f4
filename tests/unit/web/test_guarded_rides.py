"""While calls to a daemon are refused, a read that would ride on an earlier decision is refused as well."""

from dataclasses import replace
from functools import partial

from gateway.edges.guarded_rides import GuardedRides
from gateway.edges.guarded_upstream import GuardedUpstream
from gateway.model import AuthorizedCall
from gateway.stages.breaker import Breaker
from gateway.web.express import ExpressUpstream
from tests.fakes import FakeClock
from tests.scripted_upstream import answer, answering
from tests.unit.web.test_proxy_on_the_wire import GET, Caller, Gateway
from tests.unit.web.test_rides import FIRST, primed
from tests.upstream_kit import READ

ON_BOTH_LOOPS = True


def guard(at: Gateway) -> tuple[Breaker, FakeClock]:
    """A breaker before visits and rides, as `build` puts it there."""
    clock = FakeClock()
    breaker = Breaker(5.0, clock)

    def rides(call: AuthorizedCall, upstream: ExpressUpstream) -> ExpressUpstream:
        return GuardedRides(upstream, breaker, clock, call)

    upstream = GuardedUpstream(at.client.slurmrestd, breaker, clock)
    at.world.serving = replace(at.world.serving, upstream=upstream, guard_rides=rides)
    at.world.time -= 1.0  # which ends what was decided before
    return breaker, clock


async def status_of(caller: Caller) -> int:
    caller.writer.write(GET)
    return (await caller.answer())[0]


async def test_a_ride_is_refused_at_once_and_rides_again_when_slurm_is_back() -> None:
    async with primed(answering(lambda _: FIRST)) as (at, (caller,)):
        breaker, clock = guard(at)
        for _ in range(3):
            assert await status_of(caller) == 200
        assert at.rides == 2
        seen = len(at.server.seen)
        breaker.failed(READ)
        assert await status_of(caller) == 503
        assert at.codes[-1] == "slurm-unavailable"
        assert at.world.records[-1].granted
        assert len(at.server.seen) == seen, "nothing was sent"
        clock.advance(5.0)
        assert await status_of(caller) == 200  # the probe
        before = at.rides
        assert await status_of(caller) == 200
        assert at.rides == before + 1


async def test_what_a_ride_hears_opens_it_for_all() -> None:
    replies = [answer(b'{"errors":[{"error_number":1800}]}', "500 X")]
    served = partial(lambda left, _: left.pop() if is_away and left else FIRST, replies)
    is_away = False
    async with primed(answering(served)) as (at, (caller,)):
        breaker, _ = guard(at)
        assert [await status_of(caller) for _ in range(2)] == [200, 200]
        is_away, rides = True, at.rides
        assert await status_of(caller) == 500
        assert at.rides == rides + 1
        assert await status_of(caller) == 503
        assert sum(breaker.openings.values()) == 1
