"""What one configuration serves requests with: the stages, slurmrestd, and what bodies and answers may take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.edges.selected_answers import select_streamed
from gateway.edges.upstream_answer import Answer
from gateway.model import Admission, AuthorizedCall, Grant, InboundRequest
from gateway.pipeline import Pipeline
from gateway.web.express import Express, ExpressUpstream
from gateway.web.relay import BodyDeadlines, Spool


class Receive(Protocol):
    """The first stage, as the proxy calls it."""

    def __call__(
        self,
        method: str,
        raw_target: bytes,
        raw_headers: Sequence[tuple[bytes, bytes]],
        peer: str | None,
        request_id: str,
    ) -> InboundRequest: ...

    def client(
        self, raw_headers: Sequence[tuple[bytes, bytes]], peer: str | None
    ) -> tuple[str, str]: ...


class Upstream(Protocol):
    """slurmrestd. Releases the grant's slot as soon as the answer is complete. Raises Denied."""

    async def send(self, grant: Grant) -> Answer: ...


class FilterAnswer(Protocol):
    """An answer without what its client may not see, or does not want. Raises Denied or UpstreamFailed."""

    async def __call__(self, admission: Admission, answer: Answer, /) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Serving:
    """What one configuration serves requests with."""

    receive: Receive
    pipeline: Pipeline
    upstream: Upstream
    spool: Spool
    body_limit: Callable[[AuthorizedCall], int]
    body_deadlines: BodyDeadlines
    minimum_bytes_per_second: int
    only_own_jobs: FilterAnswer
    held_window_seconds: float = 10.0
    """How long a reader that holds a connection to slurmrestd may be slower than the minimum."""
    buffered_window_seconds: float = 60.0
    """The same where only memory is held."""
    ended: Callable[[], None] = lambda: None
    """Called once for each request that was begun."""
    select: FilterAnswer = select_streamed
    """Leaves of a list what its client wants of it."""
    finish: FilterAnswer | None = None
    """Makes of an answer that is kept what this client gets; without it, nothing is kept."""
    express: Express | None = None
    """For reads that repeat; without it, all are served by visits."""
    guard_rides: Callable[[AuthorizedCall, ExpressUpstream], ExpressUpstream] = lambda _, rides: (
        rides
    )
    """What repeats of a call ask of slurmrestd."""
