"""What is learnt of a daemon from an answer that it may have had no part in."""

import orjson
import pytest

from gateway.edges.daemon_word import Word, says_away, word_of
from gateway.edges.upstream_answer import Answer
from gateway.stages.breaker import Daemon
from gateway.stages.forward import own_head
from tests.fakes import make_call

CALLS = {
    Daemon.SLURMCTLD: make_call("/slurm/{version}/jobs"),
    Daemon.SLURMDBD: make_call("/slurmdb/{version}/jobs"),
}
PING = make_call("/slurm/{version}/ping")
AWAY, THERE, NOTHING = Word.AWAY, Word.THERE, Word.NOTHING


def given(status: int, body: bytes, seconds: float = 0.01) -> Answer:
    answer = Answer(own_head(status, len(body), ()), body)
    answer.seconds = seconds
    return answer


def errors(*codes: int) -> bytes:
    return orjson.dumps({"errors": [{"error_number": code} for code in codes]})


@pytest.mark.parametrize(
    ("status", "codes", "away"),
    [
        (500, (1800,), {*Daemon}),
        (503, (1, 1802), {*Daemon}),
        (500, (7000,), {Daemon.SLURMDBD}),
        (500, (7000, 1800), {*Daemon}),
        (500, (2017,), set()),
        (500, (), set()),
        (404, (1800,), set()),
        (200, (1800,), set()),
    ],
)
def test_only_slurms_own_word_is_certain(
    status: int, codes: tuple[int, ...], away: set[Daemon]
) -> None:
    """A slurmctld that names an error of slurmdbd has answered."""
    answer = given(status, errors(*codes))
    assert {daemon for daemon, call in CALLS.items() if word_of(call, answer) is AWAY} == away
    assert says_away(answer) is bool(away)


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (200, b"{}", THERE),
        (200, b"jobs: []", THERE),
        (404, errors(2017), THERE),
        (500, errors(2065), THERE),
        (400, errors(9202), NOTHING),
        (400, b"Invalid JSON", NOTHING),
        (415, b"", NOTHING),
        (500, errors(-1), NOTHING),
        (500, errors(2), NOTHING),
    ],
)
def test_an_error_of_slurmrestds_own_says_nothing(status: int, body: bytes, word: Word) -> None:
    assert word_of(CALLS[Daemon.SLURMCTLD], given(status, body)) is word


def test_a_users_words_in_yaml_count_for_nothing() -> None:
    """Beside them stands what slurmrestd quotes of a submission."""
    body = b'errors:\n- description: "Invalid memory size: code: 1800"\n  error_number: 9202\n'
    call = CALLS[Daemon.SLURMCTLD]
    assert word_of(call, given(500, body)) is NOTHING
    assert word_of(call, given(500, body, 9.0)) is AWAY


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"pings":[{"hostname":"a","ping":"UP","status":0}]}', THERE),
        (b'{"pings":[{"pinged":"DOWN"},{"pinged":"UP"}]}', THERE),
        (b'{"pings":[{"pinged":"DOWN","responding":true}]}', THERE),
        (b'{"pings":[{"pinged":"DOWN","responding":false}]}', NOTHING),
        (b'{"pings":[{"hostname":"a","pinged":"DOWN","latency":90}]}', NOTHING),
        (
            b'{"pings":[{"responding":false,"status":"Unable to contact slurm controller"}]}',
            NOTHING,
        ),
        (b'{"pings":[]}', NOTHING),
        (b"pings: [{pinged: UP}]", NOTHING),
        (b"[]", NOTHING),
    ],
)
def test_a_ping_is_answered_whatever_became_of_it(body: bytes, word: Word) -> None:
    assert word_of(PING, given(200, body)) is word


def test_an_answer_whose_body_is_not_at_hand_says_that_there_was_one() -> None:
    head = own_head(200, 1_000_000, ())
    assert word_of(CALLS[Daemon.SLURMCTLD], Answer(head, None)) is THERE
    assert not says_away(Answer(own_head(500, 1_000_000, ()), None))
