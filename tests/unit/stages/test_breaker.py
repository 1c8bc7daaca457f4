"""When calls are refused at once, when one is let through to find out, and when all are again."""

from collections.abc import Callable

import pytest

from gateway.denial import Denied, Reason
from gateway.stages.breaker import Breaker, Daemon, Probe, daemon_of
from tests.fakes import FakeClock, make_call

JOBS = make_call("/slurm/{version}/jobs")
ACCOUNTED = make_call("/slurmdb/{version}/jobs")
DOCUMENT = make_call("/openapi/v3")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def breaker(clock: FakeClock) -> Breaker:
    return Breaker(5.0, clock)


def is_refused(breaker: Breaker) -> bool:
    try:
        breaker.check(JOBS)
    except Denied as denied:
        return denied.reason is Reason.SLURM_UNAVAILABLE
    return False


def ask(breaker: Breaker, end: Callable[[Breaker, Probe | None], None]) -> None:
    end(breaker, breaker.admit(JOBS))


def fail(breaker: Breaker, probe: Probe | None = None) -> None:
    breaker.failed(JOBS, probe)


def doubt(breaker: Breaker, probe: Probe | None = None) -> None:
    breaker.doubted(JOBS, probe)


def give_up(breaker: Breaker, probe: Probe | None = None) -> None:
    breaker.given_up(JOBS, probe)


def succeed(breaker: Breaker, _: Probe | None = None) -> None:
    breaker.succeeded(JOBS)


def test_one_certain_failure_is_enough(breaker: Breaker) -> None:
    assert not is_refused(breaker)
    ask(breaker, fail)
    assert is_refused(breaker)
    assert breaker.is_open(Daemon.SLURMCTLD)


def test_of_doubts_it_takes_three_in_a_row(breaker: Breaker) -> None:
    for end in (doubt, doubt, succeed, doubt, doubt):
        ask(breaker, end)
        assert not is_refused(breaker)
    ask(breaker, doubt)
    assert is_refused(breaker)


def test_it_is_said_when_to_come_again(breaker: Breaker, clock: FakeClock) -> None:
    ask(breaker, fail)
    clock.advance(1.5)
    with pytest.raises(Denied) as refusal:
        breaker.admit(JOBS)
    assert dict(refusal.value.headers)["Retry-After"] == "4"


def test_after_the_pause_one_call_finds_out_while_the_others_wait(
    breaker: Breaker, clock: FakeClock
) -> None:
    ask(breaker, fail)
    clock.advance(5.0)
    breaker.admit(JOBS)
    assert is_refused(breaker)
    succeed(breaker)
    assert not is_refused(breaker)
    assert not breaker.is_open(Daemon.SLURMCTLD)


def test_each_pause_is_twice_as_long_up_to_a_minute(breaker: Breaker, clock: FakeClock) -> None:
    ask(breaker, fail)
    for pause in (5, 10, 20, 40, 60, 60):
        clock.advance(pause - 0.5)
        assert is_refused(breaker)
        clock.advance(0.5)
        ask(breaker, fail)
    clock.advance(60)
    ask(breaker, succeed)
    ask(breaker, fail)
    clock.advance(5)
    assert not is_refused(breaker)


def test_after_a_probe_that_is_given_up_the_next_one_waits_as_long_as_at_first(
    breaker: Breaker, clock: FakeClock
) -> None:
    """slurmrestd may still wait for slurmctld; that nothing was learnt lengthens no pause."""
    ask(breaker, fail)
    for _ in range(3):
        clock.advance(5)
        ask(breaker, give_up)
        assert is_refused(breaker)
    clock.advance(5)
    assert not is_refused(breaker)


@pytest.mark.parametrize("end", [give_up, fail, doubt])
def test_calls_that_were_sent_before_do_not_speak_for_the_probe(
    breaker: Breaker, clock: FakeClock, end: Callable[[Breaker], None]
) -> None:
    ask(breaker, fail)
    clock.advance(5)
    probe = breaker.admit(JOBS)
    end(breaker)
    assert is_refused(breaker), "a second probe beside the first"
    breaker.failed(JOBS, probe)
    clock.advance(9.5)
    assert is_refused(breaker)
    clock.advance(0.5)
    assert not is_refused(breaker)


def test_a_probe_of_an_outage_that_is_over_does_not_speak_for_the_next_one(
    breaker: Breaker, clock: FakeClock
) -> None:
    ask(breaker, fail)
    clock.advance(5)
    old = breaker.admit(JOBS)
    succeed(breaker)
    ask(breaker, fail)
    clock.advance(5)
    breaker.admit(JOBS)
    for end in (breaker.given_up, breaker.failed, breaker.doubted):
        end(JOBS, old)
        assert is_refused(breaker)


def test_calls_that_were_sent_before_lengthen_no_pause(breaker: Breaker, clock: FakeClock) -> None:
    for _ in range(4):
        breaker.admit(JOBS)
    for _ in range(4):
        fail(breaker)
    clock.advance(5)
    assert not is_refused(breaker)


def test_daemons_are_apart_and_documents_are_slurmrestds_own(breaker: Breaker) -> None:
    assert [daemon_of(call) for call in (JOBS, ACCOUNTED, DOCUMENT)] == [*Daemon, None]
    ask(breaker, fail)
    breaker.admit(ACCOUNTED)
    breaker.admit(DOCUMENT)
    breaker.succeeded(DOCUMENT)
    for end in (breaker.failed, breaker.doubted, breaker.given_up):
        end(DOCUMENT)
    assert is_refused(breaker)


def test_it_is_counted_how_often_it_opened_and_what_it_refused(
    breaker: Breaker, clock: FakeClock
) -> None:
    """A probe that fails opens nothing, nor does what was sent before."""
    for _ in range(3):
        ask(breaker, fail)
        fail(breaker)
        assert is_refused(breaker)
        clock.advance(60)
    ask(breaker, succeed)
    ask(breaker, fail)
    assert breaker.openings == {Daemon.SLURMCTLD: 2, Daemon.SLURMDBD: 0}
    assert breaker.refusals == {Daemon.SLURMCTLD: 3, Daemon.SLURMDBD: 0}
