"""A slurmrestd that a test scripts, behind a cache with a clock of its own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from gateway.edges.cache_counts import CacheCounts
from gateway.edges.cache_entries import Entries
from gateway.edges.cached_answer import CachedAnswer
from gateway.edges.cached_reads import CachedReads, Terms
from gateway.edges.cached_views import CachedViews
from gateway.edges.generations import Floors, MemoryGenerations
from gateway.edges.guarded_upstream import GuardedUpstream
from gateway.edges.own_answers import only_own_jobs
from gateway.edges.sharing import Issue, Sharing
from gateway.edges.upstream_answer import Answer, Failure, UpstreamFailed
from gateway.model import (
    Admission,
    AuthorizedCall,
    CacheWish,
    Grant,
    Identity,
    Lease,
    NoLease,
    Secret,
    UpstreamCredential,
)
from gateway.stages.breaker import Breaker
from gateway.stages.cache import Lifetimes
from gateway.stages.forward import read_head
from tests.fakes import FakeClock, FakeLease, make_identity, make_request, make_user
from tests.scripted_upstream import answer as written
from tests.upstream_kit import READ, text_of

MAXIMUM_LIST_BYTES = 200_000


class Source:
    """What a streamed answer comes from."""

    def __init__(self) -> None:
        self.aborted = 0

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None:
        self.aborted += 1


@dataclass
class Slurm:
    """slurmrestd and its slots. `hold` keeps answers back; `pieces` makes them come in parts."""

    body: Callable[[Grant], bytes] = lambda grant: b'{"n":1}'
    status: int = 200
    error: BaseException | None = None
    error_for: tuple[str, str] | None = None
    """Whose requests get the error; everybody's if None."""
    hold: asyncio.Event | None = None
    line: asyncio.Event | None = None
    """What a slot has to be waited for."""
    pieces: bool = False
    breaks: bool = False
    sent: list[Grant] = field(default_factory=list)
    leases: list[FakeLease] = field(default_factory=list)
    source: Source = field(default_factory=Source)

    async def send(self, grant: Grant) -> Answer:
        self.sent.append(grant)
        body = self.body(grant)  # as things are when it is asked
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None and self.error_for in (None, grant.admission.identity.key):
            raise self.error
        head = read_head(written(b"", f"{self.status} X", length=len(body)))
        if not self.pieces:
            return Answer(head, body)
        found = Answer(head, None, self.source, 1 << 20)
        found.feed(body[:5])
        if self.breaks:
            found.fail(UpstreamFailed(Failure.CUT))
        else:
            found.feed(body[5:])
            found.finish(0.1)
        return found

    async def acquire(self, identity: Identity) -> Lease:
        if self.line is not None:
            await self.line.wait()
        self.leases.append(FakeLease())
        return self.leases[-1]

    @property
    def released(self) -> list[int]:
        return [min(lease.released, 1) for lease in self.leases]


class CacheWorld:
    """`ask` goes the whole way: the flight or the entry, own jobs where the call says so, and the form."""

    def __init__(
        self,
        maximum_bytes: int = 1_000_000,
        maximum_answer_bytes: int = 100_000,
        stale_seconds: float = 0.0,
        share_as: str = "",
        issue: Issue | None = None,
    ) -> None:
        self.slurm = Slurm()
        self.clock = FakeClock()
        self.entries = Entries(maximum_bytes)
        self.floors = Floors(MemoryGenerations())
        lifetimes = Lifetimes(1.0, 5.0, {})
        terms = Terms(
            lifetimes, 0.25, stale_seconds, maximum_answer_bytes, MAXIMUM_LIST_BYTES, self.clock
        )
        self.breaker = Breaker(5.0, self.clock)
        guarded = GuardedUpstream(self.slurm, self.breaker, self.clock)
        sharing = None
        if issue is not None:
            sharing = Sharing(share_as, issue, guarded, self.slurm, self.clock)
        self.counts = CacheCounts()
        self.reads = CachedReads(
            guarded, self.slurm, self.entries, self.floors, terms, sharing, self.counts
        )
        self.views = CachedViews(only_own_jobs, self.counts)

    async def ask(self, grant: Grant | None = None, **changes: object) -> Answer:
        grant = grant or grant_for()
        request = grant.admission.request._replace(**changes)  # type: ignore[arg-type]  # by name
        admission = grant.admission._replace(request=request)
        async with asyncio.timeout(20):  # who waits for a flight that never lands fails
            answer = await self.reads.send(grant._replace(admission=admission))
            if admission.call.own_jobs_only:
                answer = await self.views.own_jobs(admission, answer)
            if admission.call.selection is not None:
                answer = await self.views.select(admission, answer)
            return await self.views.finish(admission, answer)

    async def text(self, grant: Grant | None = None, **changes: object) -> bytes:
        """The body alone; the answer is closed."""
        answer = await self.ask(grant, **changes)
        body = b""
        if isinstance(answer, CachedAnswer) and answer.whole is None:
            while not answer.is_over:
                body += await answer.read()
        else:
            body = await text_of(answer)
        answer.close()
        return body

    def assert_nothing_is_held(self) -> None:
        assert all(self.slurm.released)


def grant_for(
    user: str = "alice",
    call: AuthorizedCall = READ,
    *,
    own_token: str = "",
    wish: CacheWish | None = None,
) -> Grant:
    """Of a user, with a minted token unless it is the caller's own."""
    request = make_request(cache_wish=wish or CacheWish())
    who, identity = replace(make_user(user), uid=1000), make_identity(subject=user)
    admission = Admission(request, identity, who, call, FakeLease())
    credential = UpstreamCredential(
        user, Secret(own_token or f"minted-for-{user}"), bool(own_token)
    )
    return Grant(admission, None, credential, NoLease())


def headers_of(answer: Answer) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in answer.head.headers}
