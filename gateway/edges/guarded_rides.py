"""slurmrestd for reads that ride on an earlier decision -> the same, while the daemon behind it is well.

A ride that finds no connection goes on as a visit, which asks the breaker as all others do.
"""

from typing import Any, Protocol

from gateway.denial import Denied
from gateway.edges.guarded_upstream import is_doubtful, watched
from gateway.edges.upstream_answer import Answer, UpstreamFailed
from gateway.edges.upstream_connection import Credential
from gateway.model import AuthorizedCall, Clock, Grant, Lease
from gateway.stages.breaker import Breaker


class Rides(Protocol):
    """slurmrestd, as rides ask it (web/express.py)."""

    def write_head(self, grant: Grant, /) -> bytes: ...

    def seconds_for(self, grant: Grant, /) -> float: ...

    def take(self, credential: Credential, version: str, slot: Lease, /) -> Any: ...

    async def recover(self, grant: Grant, failure: UpstreamFailed, /) -> Answer: ...

    async def examined(self, grant: Grant, answer: Answer, /) -> Answer: ...


class GuardedRides:
    """Fills the Protocol that it wraps, for one call."""

    def __init__(
        self, upstream: Rides, breaker: Breaker, monotonic: Clock, call: AuthorizedCall
    ) -> None:
        self._upstream = upstream
        self._breaker = breaker
        self._monotonic = monotonic
        self._course = breaker.course_of(call)
        self.write_head = upstream.write_head
        self.seconds_for = upstream.seconds_for

    def take(self, credential: Credential, version: str, slot: Lease) -> Any:
        """None also while anything is held against the daemon, so that every answer of it is looked at."""
        course = self._course
        if course is not None and not course.is_well:
            return None
        return self._upstream.take(credential, version, slot)

    async def recover(self, grant: Grant, failure: UpstreamFailed) -> Answer:
        """See Rides. An answer is still to be examined, so that only what came to nothing is learnt from."""
        call, begun = grant.admission.call, self._monotonic()
        try:
            return await self._upstream.recover(grant, failure)
        except Denied as denied:
            if is_doubtful(denied, call, self._monotonic() - begun):
                self._breaker.doubted(call)
            raise

    async def examined(self, grant: Grant, answer: Answer) -> Answer:
        """See Rides."""
        asking = self._upstream.examined(grant, answer)
        return await watched(self._breaker, grant.admission.call, self._monotonic, asking)
