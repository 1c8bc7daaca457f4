"""A Grant -> slurmrestd's Answer, or Denied at once while the daemon behind it does not answer."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from gateway.denial import Denied, Reason
from gateway.edges.upstream_answer import Answer, outcome
from gateway.edges.upstream_probe import PROMPT_SECONDS
from gateway.model import AuthorizedCall, Clock, Grant
from gateway.stages.breaker import Breaker, Daemon, daemon_of, says_daemon_is_away
from gateway.stages.forward import HEAVY
from gateway.stages.forward_result import may_be_refusal, slurm_errors

_FIRST_SERVER_ERROR = 500
_DOUBTFUL = frozenset(
    {Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_INVALID, Reason.UPSTREAM_TIMEOUT}
)
_COSTLY_SECONDS = 1.0
"""Whoever is told sooner that slurmrestd is away has lost nothing, and is heard as soon as it is back."""


class Upstream(Protocol):
    """slurmrestd. Releases the grant's slot as soon as the answer is complete. Raises Denied."""

    def send(self, grant: Grant) -> Coroutine[Any, Any, Answer]: ...


class GuardedUpstream:
    """Fills the Protocol that it wraps. Raises Denied with SLURM_UNAVAILABLE too."""

    def __init__(self, upstream: Upstream, breaker: Breaker, monotonic: Clock) -> None:
        self._upstream = upstream
        self._monotonic = monotonic
        self.breaker = breaker

    def check(self, call: AuthorizedCall) -> None:
        """Raises Denied where nothing would be sent."""
        _not_run(call, self.breaker.check)

    async def send(self, grant: Grant) -> Answer:
        """See Upstream."""
        call, breaker = grant.admission.call, self.breaker
        _not_run(call, breaker.admit)
        return await watched(breaker, call, self._monotonic, self._upstream.send(grant))


class FreeUpstream:
    """The same without a breaker."""

    def __init__(self, upstream: Upstream) -> None:
        self.send = upstream.send

    def check(self, call: AuthorizedCall) -> None:
        """Nothing is known."""


async def watched(
    breaker: Breaker, call: AuthorizedCall, monotonic: Clock, asking: Coroutine[Any, Any, Answer]
) -> Answer:
    """The same answer, or the same exception, from which the breaker has learnt."""
    begun = monotonic()
    try:
        answer = await asking
    except Denied as denied:
        if is_doubtful(denied, call, monotonic() - begun):
            breaker.doubted(call)
        else:
            breaker.given_up(call)
        raise
    except BaseException:
        breaker.given_up(call)
        raise
    if is_away(answer, daemon_of(call)):
        breaker.failed(call)
    else:
        breaker.succeeded(call)
    return answer


def is_doubtful(denied: Denied, call: AuthorizedCall, seconds: float) -> bool:
    """A heavy read that takes too long says nothing of the daemon; one that is away says so itself."""
    if denied.reason is Reason.UPSTREAM_TIMEOUT:
        return call.risk not in HEAVY
    return denied.reason in _DOUBTFUL and seconds >= _COSTLY_SECONDS


def is_away(answer: Answer, daemon: Daemon | None = None) -> bool:
    """Whether slurmrestd says that nobody is behind it: this daemon, or any if None.

    20.11 and 22.05 say the same to a token that they refuse, but at once.
    """
    status, whole = answer.head.status, answer.whole
    if status < _FIRST_SERVER_ERROR or whole is None:
        return False
    if answer.seconds >= PROMPT_SECONDS and may_be_refusal(status, whole):
        return True
    return says_daemon_is_away(status, slurm_errors(whole), daemon)


def _not_run(call: AuthorizedCall, ask: Callable[[AuthorizedCall], None]) -> None:
    try:
        ask(call)
    except Denied as away:
        away.members = outcome(call, "not-run")
        raise
