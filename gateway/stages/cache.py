"""(AuthorizedCall, moments) -> may its answer be kept, for how long, what ends it, and what is said of it.

Answers of slurmrestd say nothing about their own age, so that these rules stand in for a Cache-Control of
its: seconds by operation, and a generation of each Slurm user that every write of theirs raises.
"""

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from gateway.model import Admission, AuthorizedCall, CacheWish, Risk
from gateway.slurm_api.kept import KEPT, may_be_kept
from gateway.slurm_api.own_jobs import HOLDS, Hold

_NAME = "slurm-gateway"
_JOB_WRITES = frozenset(
    {Risk.SUBMIT, Risk.ALLOCATE, Risk.JOB_WRITE, Risk.JOB_WRITE_BULK, Risk.ACCT_JOB_WRITE}
)
_JOB_WORDS = ("/job/", "/jobs", "/resources/")
_SLOW = ("/nodes", "/node/", "/partitions", "/partition/", "/diag", "/licenses")
"""What changes slowly, or is looked at by machines."""


class Concern(Enum):
    """What a write may change, and what a read shows."""

    JOBS = "jobs"
    REST = "rest"


class Found(Enum):
    """How an answer was come by, as RFC 9211 section 2 says it."""

    HIT = "hit"
    MISS = "fwd=uri-miss"
    STALE = "fwd=stale"
    REQUEST = "fwd=request"


_FORWARDED = {Found.MISS: "miss", Found.STALE: "expired", Found.REQUEST: "refresh"}


class Lifetimes:
    """Seconds by operation, and what they are where the configuration names none."""

    def __init__(
        self, seconds: float, slow_seconds: float, by_operation: Mapping[str, float]
    ) -> None:
        self._seconds = seconds
        self._slow_seconds = slow_seconds
        self._by_operation = by_operation

    def __call__(self, call: AuthorizedCall) -> float:
        """How long an answer may be used; 0 for what is never kept."""
        operation = call.operation
        if not may_be_kept(operation) or call.risk not in KEPT:
            return 0.0
        if call.own_jobs_only and HOLDS[operation.name] not in (Hold.ANSWER, Hold.ONE):
            return 0.0  # whose jobs they are is asked with this request's own connection
        named = self._by_operation.get(operation.name)
        if named is not None:
            return named
        path = operation.template.partition("{version}")[2]
        return self._slow_seconds if path.startswith(_SLOW) else self._seconds

    def is_kept(self, admission: Admission) -> bool:
        """Whether a call is answered without a connection of its own."""
        return self(admission.call) > 0


def longest_age(seconds: float, wish: CacheWish | None, least_seconds: float) -> float:
    """How old an answer may be for this client. Nobody makes Slurm work more often than the least says."""
    if wish is None or wish.maximum_age_seconds is None:
        return seconds
    return min(seconds, max(wish.maximum_age_seconds, least_seconds))


def concern_of(call: AuthorizedCall) -> Concern:
    """What a read shows."""
    path = call.operation.template.partition("{version}")[2]
    return Concern.JOBS if path.startswith(_JOB_WORDS) else Concern.REST


def concerns_of_write(call: AuthorizedCall) -> tuple[Concern, ...]:
    """What a write may have changed by the time it is answered. What follows later is Slurm's own doing."""
    if call.risk is Risk.UTIL:
        return ()
    return (Concern.JOBS,) if call.risk in _JOB_WRITES else (Concern.JOBS, Concern.REST)


class Sighting(NamedTuple):
    """How an answer was found. `ttl_seconds` is what is left of its life, below 0 where that is over."""

    found: Found
    ttl_seconds: float = 0.0
    age_seconds: float = 0.0
    is_collapsed: bool = False
    is_stored: bool = False
    fwd_status: int = 0
    detail: str = ""

    @property
    def outcome(self) -> str:
        """For the metrics, one word for each way in which an answer is come by."""
        if self.found is Found.HIT:
            return "stale" if self.detail else "hit"
        return "collapsed" if self.is_collapsed else _FORWARDED[self.found]

    @property
    def note(self) -> str:
        """For the audit; empty where slurmrestd was asked for this very request."""
        if self.found is Found.HIT:
            why = ", because Slurm did not answer" if self.detail else ""
            return f"answered from the cache, {self.age_seconds:.1f} s old{why}"
        return "shared the answer of an equal request" if self.is_collapsed else ""

    @property
    def status(self) -> bytes:
        """Cache-Status, RFC 9211."""
        parts = [_NAME, self.found.value]
        if self.found is Found.HIT:
            parts.append(f"ttl={int(self.ttl_seconds)}")
        if self.fwd_status:
            parts.append(f"fwd-status={self.fwd_status}")
        parts += [word for word, is_so in self._words() if is_so]
        if self.detail:
            parts.append(f"detail={self.detail}")
        return "; ".join(parts).encode("ascii")

    def _words(self) -> tuple[tuple[str, bool], ...]:
        return ("stored", self.is_stored), ("collapsed", self.is_collapsed)


def has_tag(if_none_match: str, tag: str) -> bool:
    """Whether the field names the tag, compared weakly (RFC 9110 section 13.1.2)."""
    tags = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
    return tag in tags or tags == ["*"]


def told_headers(
    kind: bytes, tag: str, coding: str, sighting: Sighting
) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of an answer that a client may keep for itself, all but its length."""
    return (
        *(((b"content-type", kind),) if kind else ()),
        *(((b"content-encoding", coding.encode("ascii")),) if coding else ()),
        (b"etag", tag.encode("ascii")),
        (b"age", b"%d" % int(sighting.age_seconds)),
        (b"cache-status", sighting.status),
        (b"cache-control", b"private, no-cache"),
        (b"vary", b"Accept, Accept-Encoding, Authorization, Cookie"),
        (b"via", b"1.1 slurm-gateway"),
        (b"x-content-type-options", b"nosniff"),
    )
