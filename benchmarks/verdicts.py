"""Rows -> one line for each target: met, missed, or not measured in this run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.results import Row

OURS = "gateway"
DOWNLOAD_MB_PER_SECOND = 800.0
GROWTH_MB = 16.0
SLURMRESTD_MB = 300.0


@dataclass(frozen=True)
class Verdict:
    """A target, what was measured against it, and whether it holds (None: not measured)."""

    target: str
    measured: str
    met: bool | None

    @property
    def line(self) -> str:
        """Return the verdict as it is printed."""
        word = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        return f"{word:12} {self.target}: {self.measured}"


@dataclass(frozen=True)
class Finding:
    """What one part of a target came to."""

    measured: str
    met: bool | None


Judge = Callable[[Row, Mapping[str, Row]], Finding]
"""(our row, all rows of its cell by variant) -> what it came to."""


@dataclass(frozen=True)
class Target:
    """What is wanted of a cell; it is met where all its parts are."""

    cell: str
    text: str
    parts: Sequence[Judge]


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """Return a verdict on every target, in the order in which the targets stand in the docs."""
    return [*(_verdict(target, rows) for target in TARGETS), _no_errors(rows)]


def _verdict(target: Target, rows: Sequence[Row]) -> Verdict:
    own = {row.variant: row for row in rows if row.cell == target.cell}
    if OURS not in own:
        return Verdict(target.text, "-", None)
    findings = [part(own[OURS], own) for part in target.parts]
    measured = ", ".join(finding.measured for finding in findings)
    return Verdict(target.text, measured, _all(finding.met for finding in findings))


def _all(parts: Iterable[bool | None]) -> bool | None:
    """Return False where one is missed, None where one is not known, True otherwise."""
    known = list(parts)
    return False if False in known else None if None in known else True


def _of_haproxy(wanted: float) -> Judge:
    return _ratio("HAProxy", lambda row: row.ratio_to_haproxy, wanted)


def _of_apache(wanted: float) -> Judge:
    return _ratio("Apache", lambda row: row.ratio_to_apache, wanted)


def _of_direct(wanted: float) -> Judge:
    return _ratio("direct", lambda row: row.ratio_to_direct, wanted)


def _ratio(name: str, ratio_of: Callable[[Row], float | None], wanted: float) -> Judge:
    def judged(row: Row, rows: Mapping[str, Row]) -> Finding:
        del rows
        ratio = ratio_of(row)
        if ratio is None:
            return Finding(f"{name} not measured", None)
        return Finding(f"{ratio:.2f} of {name}", ratio >= wanted)

    return judged


def _rate(row: Row, rows: Mapping[str, Row]) -> Finding:
    """Say what the ratios stand for."""
    del rows
    return Finding(f"{row.requests_per_second:.0f} requests/s", True)


def _at_most(figure: Callable[[Row], float | None], unit: str, most: float, digits: int) -> Judge:
    def judged(row: Row, rows: Mapping[str, Row]) -> Finding:
        del rows
        value = figure(row)
        if value is None:
            return Finding("-", None)
        return Finding(f"{value:.{digits}f} {unit}", value <= most)

    return judged


def _added(most_us: float) -> Judge:
    return _at_most(lambda row: row.added_us, "us", most_us, 0)


def _growth(row: Row, rows: Mapping[str, Row]) -> Finding:
    del rows
    growth = row.memory_growth_mb or 0.0
    return Finding(f"growth {growth:.1f} MB", growth < GROWTH_MB)


def _download(ratio: float, megabytes_per_second: float | None = None) -> Judge:
    """Judge by HAProxy's speed, or also by a speed of its own that is enough."""

    def judged(row: Row, rows: Mapping[str, Row]) -> Finding:
        del rows
        speed, of_haproxy = row.megabytes_per_second or 0.0, row.ratio_to_haproxy
        enough = megabytes_per_second is not None and speed >= megabytes_per_second
        if of_haproxy is None:
            return Finding(f"{speed:.0f} MB/s", enough or None)
        return Finding(
            f"{speed:.0f} MB/s, {of_haproxy:.2f} of HAProxy", enough or of_haproxy >= ratio
        )

    return judged


def _memory(row: Row, rows: Mapping[str, Row]) -> Finding:
    """Judge slurmrestd's memory, and say what it is without a gateway."""
    ours = row.slurmrestd_peak_mb
    direct = rows["direct"].slurmrestd_peak_mb if "direct" in rows else None
    if ours is None:
        return Finding("-", None)
    beside = "" if direct is None else f" beside {direct:.0f} MB direct"
    return Finding(f"{ours:.0f} MB{beside}", ours <= SLURMRESTD_MB)


def _no_errors(rows: Sequence[Row]) -> Verdict:
    failed = [f"{row.variant} {row.cell} {row.errors}" for row in rows if row.errors]
    return Verdict("no errors", ", ".join(failed) or "0", not failed)


def _load_targets(cell: str, title: str) -> Sequence[Target]:
    text = f"{title}, at least 1.5 of HAProxy and 2 of Apache"
    return [Target(cell, text, (_of_haproxy(1.5), _of_apache(2.0), _rate))]


TARGETS: Sequence[Target] = (
    Target("stub-64", "64 connections, at least 0.9 of HAProxy", (_of_haproxy(0.9), _rate)),
    Target("stub-16", "16 connections, at least 0.9 of HAProxy", (_of_haproxy(0.9), _rate)),
    *_load_targets("stub-64", "64 connections, 300 bytes"),
    *_load_targets("stub-16", "16 connections, 300 bytes"),
    *_load_targets("stub-64-100kb", "64 connections, 100 KB"),
    *_load_targets("stub-16-100kb", "16 connections, 100 KB"),
    Target("stub-64-tokens", "2,000 tokens, at least 1.2 of HAProxy", (_of_haproxy(1.2), _rate)),
    Target("slurm-1", "1 connection, at most 100 us added", (_added(100),)),
    Target("slurm-1", "1 connection, at most 40 us added", (_added(40),)),
    Target(
        "stub-200mb",
        f"200 MB answer, at least {DOWNLOAD_MB_PER_SECOND:.0f} MB/s or 0.6 of HAProxy, "
        f"growth under {GROWTH_MB:.0f} MB",
        (_download(0.6, DOWNLOAD_MB_PER_SECOND), _growth),
    ),
    Target(
        "stub-200mb",
        f"200 MB answer, at least HAProxy's MB/s, growth under {GROWTH_MB:.0f} MB",
        (_download(1.0), _growth),
    ),
    Target(
        "stub-200mb-slow",
        f"200 MB answer to a slow reader, growth under {GROWTH_MB:.0f} MB",
        (_growth,),
    ),
    Target("stub-50mb-up", f"50 MB upload, growth under {GROWTH_MB:.0f} MB", (_growth,)),
    Target(
        "stub-50mb-up-slow",
        f"50 MB upload from a slow writer, growth under {GROWTH_MB:.0f} MB",
        (_growth,),
    ),
    Target("stub-64-two", "two processes, at least 1.6 of HAProxy", (_of_haproxy(1.6), _rate)),
    Target("slurm-cache", "cache, at least 20 times the direct rate", (_of_direct(20), _rate)),
    Target(
        "slurm-cache",
        "cache, at most one call a second",
        (_at_most(lambda row: row.calls_per_second, "calls/s", 1, 2),),
    ),
    Target("slurm-cache", "cache, slurmrestd's memory at most 300 MB", (_memory,)),
    Target(
        "slurm-cache-arena",
        "cache, slurmrestd's memory at most 300 MB with MALLOC_ARENA_MAX=1",
        (_memory,),
    ),
    Target(
        "slurm-16-submits", "submits, at least 0.9 of the direct rate", (_of_direct(0.9), _rate)
    ),
)
