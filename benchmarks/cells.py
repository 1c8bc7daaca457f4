"""The table of what is measured: which backend, how many connections, by which measure."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from benchmarks.identity import CALLERS
from benchmarks.measure import (
    Effort,
    Measure,
    Subject,
    measure_added_latency,
    measure_download,
    measure_load,
    measure_upload,
)
from benchmarks.wire import Pace

SLOW = Pace(bytes_per_second=50_000_000)
"""A reader at a thirtieth of what loopback gives: a proxy that buffers fills its memory."""

Measurement: TypeAlias = Callable[[Subject, Subject, Effort], Measure]
"""(subject, direct, effort) -> one round's figures."""


class Upstream(Enum):
    """What stands behind the variants."""

    STUB = "stub"
    SLURM = "slurmrestd"


@dataclass(frozen=True)
class Group:
    """Cells of one group share the running variants."""

    upstream: Upstream
    tls: bool = False


@dataclass(frozen=True)
class Cell:
    """One question, asked of every variant in each round."""

    name: str
    title: str
    group: Group
    connections: int
    measurement: Measurement
    with_direct: bool = True
    maximum_rounds: int = 1_000


def by_load(connections: int, callers: int = 1) -> Measurement:
    """Return the measure of requests a second at so many connections of so many callers."""

    def measured(subject: Subject, direct: Subject, effort: Effort) -> Measure:
        del direct
        return measure_load(subject, effort, connections, callers)

    return measured


def by_download(pace: Pace | None) -> Measurement:
    """Return the measure of a large answer, read as fast as possible or at a pace."""

    def measured(subject: Subject, direct: Subject, effort: Effort) -> Measure:
        del direct
        return measure_download(subject, 1 if pace else effort.downloads, pace)

    return measured


def by_upload(subject: Subject, direct: Subject, effort: Effort) -> Measure:
    """Measure a large request body."""
    del direct
    return measure_upload(subject, effort.downloads)


def by_added_latency(subject: Subject, direct: Subject, effort: Effort) -> Measure:
    """Measure what the variant adds to direct's median, request by request."""
    return measure_added_latency(subject, direct, effort.pairs)


STUB = Group(Upstream.STUB)
STUB_TLS = Group(Upstream.STUB, tls=True)
SLURM = Group(Upstream.SLURM)

CELLS = (
    Cell("stub-64", "64 connections, 300-byte answers", STUB, 64, by_load(64)),
    Cell("stub-64-callers", "64 connections of 8 callers", STUB, 64, by_load(64, CALLERS)),
    Cell("stub-16", "16 connections, 300-byte answers", STUB, 16, by_load(16)),
    Cell("stub-1", "1 connection, 300-byte answers", STUB, 1, by_load(1)),
    Cell("stub-200mb", "200 MB answer", STUB, 1, by_download(None)),
    Cell(
        "stub-200mb-slow",
        "200 MB answer to a reader of 50 MB/s",
        STUB,
        1,
        by_download(SLOW),
        with_direct=False,
        maximum_rounds=2,
    ),
    Cell("stub-50mb-up", "50 MB request body", STUB, 1, by_upload),
    Cell(
        "stub-64-tls",
        "64 connections, 300-byte answers, TLS",
        STUB_TLS,
        64,
        by_load(64),
        with_direct=False,
    ),
    Cell("slurm-1", "1 connection, ping of the real slurmrestd", SLURM, 1, by_added_latency),
    Cell("slurm-16", "16 connections, ping of the real slurmrestd", SLURM, 16, by_load(16)),
)
