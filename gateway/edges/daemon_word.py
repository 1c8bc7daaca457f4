"""An answer of slurmrestd -> what it says of slurmctld or slurmdbd: away, there, or nothing."""

from enum import Enum, auto

from gateway.edges.upstream_answer import Answer
from gateway.model import AuthorizedCall
from gateway.stages.breaker import Daemon, daemon_of
from gateway.stages.forward_result import (
    PROMPT_SECONDS,
    has_pinged,
    may_be_refusal,
    stated_codes,
)

_CONTROLLER = frozenset({1800, 1801, 1802, 1803})
"""slurm_errno.h: slurmctld cannot be reached, or breaks off."""
_DATABASE = frozenset({7000})
"""The same of slurmdbd: ESLURM_DB_CONNECTION."""
_OF_DAEMONS = range(1000, 9000)
"""Codes below are errno's, those above slurmrestd's own: both may come without a daemon having been asked."""
_FIRST_ERROR, _FIRST_SERVER_ERROR = 400, 500
_PING = "/ping"
"""How the templates end of calls that are answered with 200, whatever became of the ping (24.11, 26.05)."""


class Word(Enum):
    """What is learnt of a daemon."""

    AWAY = auto()
    THERE = auto()
    NOTHING = auto()


def word_of(call: AuthorizedCall, answer: Answer) -> Word:
    """Of the daemon that answers this call in the end."""
    status, whole = answer.head.status, answer.whole
    if says_away(answer, daemon_of(call)):
        return Word.AWAY
    if call.operation.template.endswith(_PING):
        return Word.THERE if has_pinged(whole or b"") else Word.NOTHING
    if status < _FIRST_ERROR:
        return Word.THERE
    codes = stated_codes(whole or b"") or ()
    return Word.THERE if any(code in _OF_DAEMONS for code in codes) else Word.NOTHING


def says_away(answer: Answer, daemon: Daemon | None = None) -> bool:
    """Whether slurmrestd has found nobody behind it: this daemon, or any if None.

    A slurmctld that names an error of slurmdbd has answered. Numbers in YAML count for nothing: a user's own
    words may stand beside them, so that time alone tells, as it does of old releases that name no number.
    """
    status, whole, is_slow = answer.head.status, answer.whole, answer.seconds >= PROMPT_SECONDS
    if status < _FIRST_SERVER_ERROR or whole is None:
        return False
    codes = stated_codes(whole)
    if codes is None or (is_slow and may_be_refusal(status, whole)):
        return is_slow
    away = _CONTROLLER if daemon is Daemon.SLURMCTLD else _CONTROLLER | _DATABASE
    return not away.isdisjoint(codes)
