"""When calls are refused at once, when one is let through to find out, and when all are again."""

from collections.abc import Callable

import pytest

from gateway.denial import Denied, Reason
from gateway.stages.breaker import Breaker, Daemon, daemon_of, says_daemon_is_away
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


def ask(breaker: Breaker, end: Callable[[Breaker], None]) -> None:
    breaker.admit(JOBS)
    end(breaker)


def fail(breaker: Breaker) -> None:
    breaker.failed(JOBS)


def doubt(breaker: Breaker) -> None:
    breaker.doubted(JOBS)


def succeed(breaker: Breaker) -> None:
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


def test_a_probe_that_is_given_up_lets_the_next_one_try(breaker: Breaker, clock: FakeClock) -> None:
    ask(breaker, fail)
    clock.advance(5)
    breaker.admit(JOBS)
    breaker.given_up(JOBS)
    assert not is_refused(breaker)


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
    for end in (breaker.failed, breaker.doubted, breaker.succeeded, breaker.given_up):
        end(DOCUMENT)
    assert is_refused(breaker)


@pytest.mark.parametrize(
    ("status", "codes", "away"),
    [
        (500, ("1800",), {*Daemon}),
        (503, ("1", "1802"), {*Daemon}),
        (500, ("7000",), {Daemon.SLURMDBD}),
        (500, ("7000", "1800"), {*Daemon}),
        (500, ("2017",), set()),
        (500, (), set()),
        (404, ("1800",), set()),
        (200, ("1800",), set()),
    ],
)
def test_only_slurms_own_word_is_certain(
    status: int, codes: tuple[str, ...], away: set[Daemon]
) -> None:
    """A slurmctld that names an error of slurmdbd has answered."""
    assert {daemon for daemon in Daemon if says_daemon_is_away(status, codes, daemon)} == away
    assert says_daemon_is_away(status, codes) is bool(away)


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
