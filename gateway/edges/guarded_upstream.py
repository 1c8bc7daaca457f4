"""A Grant -> slurmrestd's Answer, or Denied at once while the daemon behind it does not answer."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from gateway.denial import Denied, Reason
from gateway.edges.daemon_word import Word, word_of
from gateway.edges.upstream_answer import Answer, outcome
from gateway.model import AuthorizedCall, Clock, Grant
from gateway.stages.breaker import Breaker, Probe
from gateway.stages.forward import HEAVY

T = TypeVar("T")
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
        probe = _not_run(call, breaker.admit)
        asking = self._upstream.send(grant)
        return await watched(breaker, call, self._monotonic, asking, probe)


class FreeUpstream:
    """The same without a breaker."""

    def __init__(self, upstream: Upstream) -> None:
        self.send = upstream.send

    def check(self, call: AuthorizedCall) -> None:
        """Nothing is known."""


class Checked:
    """What stands before a guarded slurmrestd, and the look at whether it would be asked."""

    def __init__(self, upstream: Upstream, check: Callable[[AuthorizedCall], None]) -> None:
        self.send = upstream.send
        self.check = check


async def watched(
    breaker: Breaker,
    call: AuthorizedCall,
    monotonic: Clock,
    asking: Coroutine[Any, Any, Answer],
    probe: Probe | None = None,
) -> Answer:
    """The same answer, or the same exception, from which the breaker has learnt."""
    begun = monotonic()
    try:
        answer = await asking
    except Denied as denied:
        if is_doubtful(denied, call, monotonic() - begun):
            breaker.doubted(call, probe)
        else:
            breaker.given_up(call, probe)
        raise
    except BaseException:
        breaker.given_up(call, probe)
        raise
    match word_of(call, answer):
        case Word.AWAY:
            breaker.failed(call, probe)
        case Word.THERE:
            breaker.succeeded(call)
        case Word.NOTHING:
            breaker.given_up(call, probe)
    return answer


def is_doubtful(denied: Denied, call: AuthorizedCall, seconds: float) -> bool:
    """A heavy read that takes too long says nothing of the daemon; one that is away says so itself."""
    if denied.reason is Reason.UPSTREAM_TIMEOUT:
        return call.risk not in HEAVY
    return denied.reason in _DOUBTFUL and seconds >= _COSTLY_SECONDS


def _not_run(call: AuthorizedCall, ask: Callable[[AuthorizedCall], T]) -> T:
    try:
        return ask(call)
    except Denied as away:
        away.members = outcome(call, "not-run")
        raise
