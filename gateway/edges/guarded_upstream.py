"""A Grant -> slurmrestd's Answer, or Denied at once while the daemon behind it does not answer."""

from collections.abc import Coroutine
from typing import Any, Protocol

from gateway.denial import Denied, Reason
from gateway.edges.upstream_answer import Answer, outcome
from gateway.edges.upstream_probe import PROMPT_SECONDS
from gateway.model import AuthorizedCall, Grant
from gateway.stages.breaker import Breaker, says_daemon_is_away
from gateway.stages.forward import HEAVY
from gateway.stages.forward_result import may_be_refusal, slurm_errors

_FIRST_SERVER_ERROR = 500
_DOUBTFUL = frozenset(
    {Reason.UPSTREAM_UNREACHABLE, Reason.UPSTREAM_INVALID, Reason.UPSTREAM_TIMEOUT}
)


class Upstream(Protocol):
    """slurmrestd. Releases the grant's slot as soon as the answer is complete. Raises Denied."""

    def send(self, grant: Grant) -> Coroutine[Any, Any, Answer]: ...


class GuardedUpstream:
    """Fills the Protocol that it wraps. Raises Denied with SLURM_UNAVAILABLE too."""

    def __init__(self, upstream: Upstream, breaker: Breaker) -> None:
        self._upstream = upstream
        self.breaker = breaker

    def check(self, call: AuthorizedCall) -> None:
        """Raises Denied where nothing would be sent."""
        try:
            self.breaker.check(call)
        except Denied as away:
            away.members = outcome(call, "not-run")
            raise

    async def send(self, grant: Grant) -> Answer:
        """See Upstream."""
        call, breaker = grant.admission.call, self.breaker
        try:
            breaker.admit(call)
        except Denied as away:
            away.members = outcome(call, "not-run")
            raise
        try:
            answer = await self._upstream.send(grant)
        except Denied as denied:
            # a heavy read that takes too long says nothing of the daemon; one that is away says so itself
            is_slow = denied.reason is Reason.UPSTREAM_TIMEOUT and call.risk in HEAVY
            if denied.reason in _DOUBTFUL and not is_slow:
                breaker.doubted(call)
            else:
                breaker.given_up(call)
            raise
        except BaseException:
            breaker.given_up(call)
            raise
        if is_away(answer):
            breaker.failed(call)
        else:
            breaker.succeeded(call)
        return answer


def is_away(answer: Answer) -> bool:
    """Whether slurmrestd says that nobody is behind it.

    20.11 and 22.05 say the same to a token that they refuse, but at once.
    """
    status, whole = answer.head.status, answer.whole
    if status < _FIRST_SERVER_ERROR or whole is None:
        return False
    if answer.seconds >= PROMPT_SECONDS and may_be_refusal(status, whole):
        return True
    return says_daemon_is_away(status, slurm_errors(whole))
