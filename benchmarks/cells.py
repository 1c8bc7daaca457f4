"""The table of what is measured: which backend, how many connections, by which measure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import TypeAlias

from benchmarks.cached import CODINGS, ONE_ARENA, Polling, measure_lists
from benchmarks.identity import CALLERS, TOKENS
from benchmarks.measure import (
    Effort,
    Measure,
    Subject,
    measure_added_latency,
    measure_download,
    measure_first_sight,
    measure_load,
    measure_upload,
    show_all_callers,
)
from benchmarks.submits import CONNECTIONS, measure_submits
from benchmarks.wire import Pace

SLOW = Pace(bytes_per_second=50_000_000)
"""A reader at a thirtieth of what loopback gives: a proxy that buffers fills its memory."""
SLOW_WRITER = Pace(bytes_per_second=25_000_000)

Measurement: TypeAlias = Callable[[Subject, Subject, Effort], Measure]
"""(subject, direct, effort) -> one round's figures."""
PROXIES = ("nginx", "haproxy", "apache", "express", "fastapi", "gateway")
EVERYBODY = ("direct", *PROXIES)
WITH_RELAY = (*EVERYBODY, "relay")
"""Where it is asked how much of what the gateway takes is Python's own."""
INSTALLED = ("nginx", "haproxy", "apache", "gateway")
"""Without those that people write themselves, where they would show nothing new."""


class Upstream(Enum):
    """What stands behind the variants."""

    STUB = "stub"
    SLURM = "slurmrestd"


@dataclass(frozen=True)
class Group:
    """Cells of one group share the running variants."""

    upstream: Upstream
    tls: bool = False
    processes: int = 1
    cache: bool = False
    callers: int = CALLERS
    jobs: int = 0
    """That wait in Slurm meanwhile."""

    @property
    def name(self) -> str:
        """Return a name for its folders."""
        more = {"tls": self.tls, "cache": self.cache, "two": self.processes > 1}
        return "-".join([self.upstream.value, *(name for name, has in more.items() if has)])


@dataclass(frozen=True)
class Cell:
    """One question, asked of the named variants in each round."""

    name: str
    title: str
    group: Group
    connections: int
    measurement: Measurement
    variants: Sequence[str] = EVERYBODY
    maximum_rounds: int = 1_000
    warmed_by: Measurement | None = None
    """What each variant is warmed up with, if not with the measurement itself."""

    def compares(self, variant: str) -> bool:
        """Return whether this variant is asked."""
        return variant in self.variants


def by_load(connections: int, callers: int = 1, target: str = "small_target") -> Measurement:
    """Return the measure of requests a second at so many connections of so many callers."""
    target_of = attrgetter(target)

    def measured(subject: Subject, direct: Subject, effort: Effort) -> Measure:
        del direct
        return measure_load(subject, effort, target_of(subject.backend), connections, callers)

    return measured


def by_tokens(subject: Subject, direct: Subject, effort: Effort) -> Measure:
    """Show every token in each round before there is a load of all of them: between its turns a variant may forget."""
    show_all_callers(subject)
    return by_load(64, TOKENS)(subject, direct, effort)


def by_first_sight(subject: Subject, direct: Subject, effort: Effort) -> Measure:
    """Measure what a token costs that was never seen."""
    del direct
    return measure_first_sight(subject, effort.pairs // 4)


def by_download(pace: Pace | None) -> Measurement:
    """Return the measure of a large answer, read as fast as possible or at a pace."""

    def measured(subject: Subject, direct: Subject, effort: Effort) -> Measure:
        del direct
        return measure_download(subject, 1 if pace else effort.downloads, pace)

    return measured


def by_upload(pace: Pace | None) -> Measurement:
    """Return the measure of a large request body, sent as fast as possible or at a pace."""

    def measured(subject: Subject, direct: Subject, effort: Effort) -> Measure:
        del direct
        return measure_upload(subject, 1 if pace else effort.downloads, pace)

    return measured


def by_added_latency(subject: Subject, direct: Subject, effort: Effort) -> Measure:
    """Measure what the variant adds to direct's median, request by request."""
    return measure_added_latency(subject, direct, effort.pairs)


def by_submits(subject: Subject, direct: Subject, effort: Effort) -> Measure:
    """Measure real submissions."""
    del direct
    return measure_submits(subject, effort.submissions)


def by_lists(share: float, polling: Polling) -> Measurement:
    """Return the measure of polling for all jobs, for so much of the long time."""

    def measured(subject: Subject, direct: Subject, effort: Effort) -> Measure:
        del direct
        return measure_lists(subject, polling, POLLERS, effort.long_seconds * share)

    return measured


POLLERS = 32
STUB = Group(Upstream.STUB, callers=TOKENS)
STUB_TLS = Group(Upstream.STUB, tls=True)
STUB_TWO = Group(Upstream.STUB, processes=2)
SLURM = Group(Upstream.SLURM)
SLURM_CACHE = Group(Upstream.SLURM, cache=True, jobs=2000)
"""Before the others: jobs that were cancelled stay in the lists for five minutes."""

CELLS = (
    Cell(
        "stub-64",
        "64 connections, 300-byte answers",
        STUB,
        64,
        by_load(64),
        variants=WITH_RELAY,
    ),
    Cell(
        "stub-64-callers",
        "64 connections of 8 callers",
        STUB,
        64,
        by_load(64, CALLERS),
        variants=("direct", *INSTALLED),
    ),
    Cell(
        "stub-64-tokens",
        "64 connections, 2,000 tokens in rotation",
        STUB,
        64,
        by_tokens,
    ),
    Cell(
        "stub-16",
        "16 connections, 300-byte answers",
        STUB,
        16,
        by_load(16),
        variants=WITH_RELAY,
    ),
    Cell(
        "stub-64-100kb",
        "64 connections, 100-KB answers",
        STUB,
        64,
        by_load(64, target="medium_target"),
    ),
    Cell(
        "stub-16-100kb",
        "16 connections, 100-KB answers",
        STUB,
        16,
        by_load(16, target="medium_target"),
    ),
    Cell("stub-1", "1 connection, 300-byte answers", STUB, 1, by_load(1)),
    Cell(
        "first-sight",
        "single requests with a token never seen, and what they cost more than a repeat",
        STUB,
        1,
        by_first_sight,
        variants=("gateway",),
    ),
    Cell("stub-200mb", "200 MB answer", STUB, 1, by_download(None)),
    Cell(
        "stub-200mb-slow",
        "200 MB answer to a reader of 50 MB/s",
        STUB,
        1,
        by_download(SLOW),
        variants=PROXIES,
        maximum_rounds=2,
        warmed_by=by_download(None),
    ),
    Cell("stub-50mb-up", "50 MB request body", STUB, 1, by_upload(None)),
    Cell(
        "stub-50mb-up-slow",
        "50 MB request body from a writer of 25 MB/s",
        STUB,
        1,
        by_upload(SLOW_WRITER),
        variants=PROXIES,
        maximum_rounds=2,
        warmed_by=by_upload(None),
    ),
    Cell(
        "stub-64-tls",
        "64 connections, 300-byte answers, TLS",
        STUB_TLS,
        64,
        by_load(64),
        variants=INSTALLED,
    ),
    Cell(
        "stub-64-two",
        "64 connections, 300-byte answers, two processes or threads",
        STUB_TWO,
        64,
        by_load(64),
        variants=("direct", "nginx", "haproxy", "gateway"),
    ),
    Cell(
        "slurm-cache",
        "32 clients, all 2,000 jobs, the gateway's cache on",
        SLURM_CACHE,
        POLLERS,
        by_lists(1, Polling(CODINGS)),
        variants=("direct", "gateway"),
        maximum_rounds=1,
        warmed_by=by_added_latency,
    ),
    Cell(
        "slurm-cache-plain",
        "the same, clients that take no coding",
        SLURM_CACHE,
        POLLERS,
        by_lists(0.25, Polling({})),
        variants=("gateway",),
        maximum_rounds=1,
        warmed_by=by_added_latency,
    ),
    Cell(
        "slurm-cache-arena",
        "the same, slurmrestd with MALLOC_ARENA_MAX=1",
        SLURM_CACHE,
        POLLERS,
        by_lists(0.25, Polling(CODINGS, ONE_ARENA)),
        variants=("direct", "gateway"),
        maximum_rounds=1,
        warmed_by=by_added_latency,
    ),
    Cell(
        "slurm-1",
        "1 connection, ping of the real slurmrestd",
        SLURM,
        1,
        by_added_latency,
        variants=WITH_RELAY,
    ),
    Cell("slurm-16", "16 connections, ping of the real slurmrestd", SLURM, 16, by_load(16)),
    Cell(
        "slurm-16-submits",
        "16 connections, real submissions of held jobs",
        SLURM,
        CONNECTIONS,
        by_submits,
        variants=("direct", "nginx", "haproxy", "gateway"),
    ),
)
