"""[forward] and slurmrestd -> the same, with a breaker before it that visits and rides ask."""

import time
from dataclasses import dataclass

from gateway.app_shelf import Shelf
from gateway.config.forward import Forward
from gateway.edges.guarded_rides import GuardedRides
from gateway.edges.guarded_upstream import FreeUpstream, GuardedUpstream, Upstream
from gateway.model import AuthorizedCall
from gateway.stages.breaker import Breaker
from gateway.web.express import ExpressUpstream


@dataclass(frozen=True, slots=True)
class Guarded:
    """slurmrestd, with a breaker before it unless that is switched off."""

    upstream: GuardedUpstream | FreeUpstream
    breaker: Breaker | None

    def rides(self, call: AuthorizedCall, rides: ExpressUpstream) -> ExpressUpstream:
        """slurmrestd, as repeats of this call ask it."""
        if self.breaker is None:
            return rides
        return GuardedRides(rides, self.breaker, time.monotonic, call)


def make_guarded(forward: Forward, upstream: Upstream, shelf: Shelf) -> Guarded:
    """What is known of the daemons outlives a reload that leaves slurmrestd the same."""
    if not forward.breaker:
        return Guarded(FreeUpstream(upstream), None)
    pause_seconds = forward.breaker_pause_seconds
    breaker = shelf.take(
        ("breaker", forward.upstream, pause_seconds),
        lambda: Breaker(pause_seconds, time.monotonic),
    )
    return Guarded(GuardedUpstream(upstream, breaker, time.monotonic), breaker)
