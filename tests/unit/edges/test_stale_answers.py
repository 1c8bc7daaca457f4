"""While Slurm is away: what is kept is used a while longer and marked so, and nobody waits for nothing."""

import asyncio

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.daemon_word import says_away
from gateway.edges.guarded_upstream import GuardedUpstream
from gateway.edges.upstream_answer import Answer
from gateway.model import Grant, Risk
from gateway.stages.breaker import Breaker, Daemon
from gateway.stages.forward import own_head
from tests.cache_world import CacheWorld, grant_for, headers_of
from tests.fakes import make_call
from tests.upstream_kit import SUBMIT

AWAY = b'{"errors":[{"error_number":1800,"error":"Unable to contact slurm controller"}]}'
ACCOUNTED = make_call("/slurmdb/{version}/jobs")


@pytest.fixture
def world() -> CacheWorld:
    return CacheWorld(stale_seconds=30.0)


def goes_away(world: CacheWorld) -> None:
    world.slurm.status, world.slurm.body = 500, lambda _: AWAY


def comes_back(world: CacheWorld) -> None:
    world.slurm.status, world.slurm.body = 200, lambda _: b'{"n":2}'


async def code_of(world: CacheWorld, grant: Grant | None = None) -> str:
    with pytest.raises(Denied) as refusal:
        await world.ask(grant)
    return refusal.value.reason.code


async def test_what_is_kept_is_used_longer_and_says_so(world: CacheWorld) -> None:
    await world.text()
    goes_away(world)
    world.clock.advance(11.0)
    for _ in range(5):
        found = await world.ask()
        assert (found.head.status, found.whole) == (200, b'{"n":1}')
        told = headers_of(found)
        assert told["cache-status"] == "slurm-gateway; hit; ttl=-10; detail=slurm-unavailable"
        assert told["age"] == "11"
        assert found.note == "answered from the cache, 11.0 s old, because Slurm did not answer"
    assert len(world.slurm.sent) == 2


async def test_not_for_ever(world: CacheWorld) -> None:
    await world.text()
    goes_away(world)
    world.clock.advance(31.0)
    assert (await world.ask()).whole == AWAY
    assert await code_of(world) == "slurm-unavailable"


async def test_what_was_never_kept_is_refused_at_once_after_the_first(world: CacheWorld) -> None:
    goes_away(world)
    first = await world.ask()
    assert (first.head.status, first.whole) == (500, AWAY)
    assert await code_of(world) == "slurm-unavailable"
    assert await code_of(world, grant_for("bob")) == "slurm-unavailable"
    assert len(world.slurm.sent) == 1
    world.assert_nothing_is_held()


async def test_it_heals_by_the_first_call_after_the_pause(world: CacheWorld) -> None:
    await world.text()
    goes_away(world)
    world.clock.advance(2.0)
    await world.text()
    comes_back(world)
    assert await world.text() == b'{"n":1}'
    world.clock.advance(5.0)
    assert await world.text() == b'{"n":2}'
    assert not world.breaker.is_open(Daemon.SLURMCTLD)


async def test_a_write_is_refused_and_certainly_did_not_run(world: CacheWorld) -> None:
    await world.text()
    goes_away(world)
    world.clock.advance(2.0)
    await world.text()
    with pytest.raises(Denied) as refusal:
        await world.ask(grant_for(call=SUBMIT))
    assert refusal.value.reason is Reason.SLURM_UNAVAILABLE
    assert refusal.value.members == {"outcome": "not-run"}
    assert await world.text() == b'{"n":1}'  # nothing was written, so that nothing is older for it


async def test_what_is_older_than_ones_own_write_is_not_shown(world: CacheWorld) -> None:
    await world.text()
    await world.text(grant_for(call=SUBMIT))
    goes_away(world)
    assert (await world.ask()).whole == AWAY
    assert await code_of(world) == "slurm-unavailable"


@pytest.mark.parametrize(
    "reason", [Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_TIMEOUT, Reason.UPSTREAM_INVALID]
)
async def test_a_slurmrestd_that_fails_is_no_better(world: CacheWorld, reason: Reason) -> None:
    await world.text()
    world.slurm.error = Denied(reason)
    world.clock.advance(2.0)
    for _ in range(4):
        assert await world.text() == b'{"n":1}'
    assert await code_of(world, grant_for("bob")) in (reason.code, "slurm-unavailable")


@pytest.mark.parametrize("reason", [Reason.CREDENTIAL_REFUSED, Reason.BUSY])
async def test_a_refusal_of_another_kind_is_a_refusal(world: CacheWorld, reason: Reason) -> None:
    await world.text()
    world.slurm.error = Denied(reason)
    world.clock.advance(2.0)
    assert await code_of(world) == reason.code
    assert not world.breaker.is_open(Daemon.SLURMCTLD)


async def test_a_heavy_read_that_takes_too_long_stops_nobody_else(world: CacheWorld) -> None:
    """Anybody may ask for more than slurmdbd can find in time; one that is away says so itself."""
    world.slurm.error = Denied(Reason.UPSTREAM_TIMEOUT)
    heavy = make_call("/slurmdb/{version}/jobs", risk=Risk.READ_HEAVY)
    for _ in range(5):
        assert await code_of(world, grant_for(call=heavy)) == "upstream-timeout"
    assert not world.breaker.is_open(Daemon.SLURMDBD)


@pytest.mark.parametrize(
    ("reason", "seconds", "is_open"),
    [
        (Reason.UPSTREAM_UNREACHABLE, 0.01, False),
        (Reason.UPSTREAM_UNREACHABLE, 9.0, True),
        (Reason.UPSTREAM_INVALID, 0.01, False),
        (Reason.UPSTREAM_INVALID, 9.0, True),
        (Reason.UPSTREAM_TIMEOUT, 25.0, True),
    ],
)
async def test_what_fails_at_once_needs_no_breaker(
    world: CacheWorld, reason: Reason, seconds: float, is_open: bool
) -> None:
    """So that a slurmrestd that restarts is asked as soon as it is back."""

    def body(_: Grant) -> bytes:
        world.clock.advance(seconds)
        return b""

    world.slurm.body, world.slurm.error = body, Denied(reason)
    for _ in range(3):
        assert await code_of(world) == reason.code
    assert world.breaker.is_open(Daemon.SLURMCTLD) is is_open


async def test_an_error_of_slurmdbd_is_not_held_against_slurmctld(world: CacheWorld) -> None:
    """It is passed on where nothing is kept, and a stale answer does for it where something is."""
    world.slurm.status, world.slurm.body = 500, lambda _: b'{"errors":[{"error_number":7000}]}'
    for _ in range(4):
        assert (await world.ask()).head.status == 500
    assert not any(map(world.breaker.is_open, Daemon))
    assert (await world.ask(grant_for(call=ACCOUNTED))).head.status == 500
    assert [daemon for daemon in Daemon if world.breaker.is_open(daemon)] == [Daemon.SLURMDBD]


async def test_nobody_gets_a_stale_answer_of_another(world: CacheWorld) -> None:
    await world.text(grant_for("bob"))
    goes_away(world)
    await world.ask()
    assert await code_of(world) == "slurm-unavailable"


async def test_the_accounting_goes_on(world: CacheWorld) -> None:
    goes_away(world)
    await world.ask()
    comes_back(world)
    assert await world.text(grant_for(call=ACCOUNTED)) == b'{"n":2}'


@pytest.mark.parametrize("body", [b'{"errors":[]}', b'{"errors":[{"error_number":-1}]}'])
@pytest.mark.parametrize(("seconds", "away"), [(9.0, True), (0.01, False)])
def test_old_releases_say_it_slowly_and_without_a_number(
    body: bytes, seconds: float, away: bool
) -> None:
    """At once, they say the same of a token."""
    answer = Answer(own_head(500, len(body), ()), body)
    answer.seconds = seconds
    assert says_away(answer) is away


async def test_a_probe_that_is_cancelled_leaves_the_way_free() -> None:
    world = CacheWorld()
    breaker = Breaker(5.0, world.clock)
    guarded = GuardedUpstream(world.slurm, breaker, world.clock)
    world.slurm.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        await guarded.send(grant_for())
    world.slurm.error = None
    assert (await guarded.send(grant_for())).whole == b'{"n":1}'


async def test_clients_that_give_up_while_slurm_is_away_send_one_call_a_pause() -> None:
    """slurmrestd goes on waiting for slurmctld after they have left; three such calls stop 26.05 (measured)."""
    world = CacheWorld()
    breaker = Breaker(5.0, world.clock)
    guarded = GuardedUpstream(world.slurm, breaker, world.clock)
    breaker.failed(grant_for().admission.call)
    world.slurm.error = asyncio.CancelledError()
    for _ in range(3):
        world.clock.advance(5.0)
        with pytest.raises(asyncio.CancelledError):
            await guarded.send(grant_for())
        with pytest.raises(Denied):
            await guarded.send(grant_for())
