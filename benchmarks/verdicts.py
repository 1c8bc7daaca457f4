"""Rows -> one line for each target: met, missed, or not measured in this run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.results import Row

OURS = "gateway"
RATIO = 0.9
ADDED_US = 100.0
DOWNLOAD_MB_PER_SECOND = 800.0
DOWNLOAD_RATIO = 0.6
GROWTH_MB = 16.0


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


def judge(rows: Sequence[Row]) -> list[Verdict]:
    """Return a verdict on every target, in the order in which the targets stand in the docs."""
    return [
        _on("stub-64", rows, f"64 connections, at least {RATIO} of HAProxy", _throughput),
        _on("stub-16", rows, f"16 connections, at least {RATIO} of HAProxy", _throughput),
        _on("slurm-1", rows, f"1 connection, at most {ADDED_US:.0f} us added", _latency),
        _on(
            "stub-200mb",
            rows,
            f"200 MB answer, at least {DOWNLOAD_MB_PER_SECOND:.0f} MB/s or "
            f"{DOWNLOAD_RATIO} of HAProxy, growth under {GROWTH_MB:.0f} MB",
            _download,
        ),
        _on(
            "stub-200mb-slow",
            rows,
            f"200 MB answer to a slow reader, growth under {GROWTH_MB:.0f} MB",
            _growth,
        ),
        _no_errors(rows),
    ]


def _on(
    cell: str, rows: Sequence[Row], target: str, judged: Callable[[Row, str], Verdict]
) -> Verdict:
    for row in rows:
        if row.cell == cell and row.variant == OURS:
            return judged(row, target)
    return Verdict(target, "-", None)


def _throughput(row: Row, target: str) -> Verdict:
    if row.ratio_to_haproxy is None:
        return Verdict(target, f"{row.requests_per_second:.0f} requests/s", None)
    measured = f"{row.ratio_to_haproxy:.2f} ({row.requests_per_second:.0f} requests/s)"
    return Verdict(target, measured, row.ratio_to_haproxy >= RATIO)


def _latency(row: Row, target: str) -> Verdict:
    if row.added_us is None:
        return Verdict(target, "-", None)
    return Verdict(target, f"{row.added_us:.0f} us", row.added_us <= ADDED_US)


def _download(row: Row, target: str) -> Verdict:
    speed, ratio = row.megabytes_per_second or 0.0, row.ratio_to_haproxy or 0.0
    growth = row.memory_growth_mb or 0.0
    fast = speed >= DOWNLOAD_MB_PER_SECOND or ratio >= DOWNLOAD_RATIO
    measured = f"{speed:.0f} MB/s, {ratio:.2f} of HAProxy, growth {growth:.1f} MB"
    return Verdict(target, measured, fast and growth < GROWTH_MB)


def _growth(row: Row, target: str) -> Verdict:
    growth = row.memory_growth_mb or 0.0
    return Verdict(target, f"{growth:.1f} MB", growth < GROWTH_MB)


def _no_errors(rows: Sequence[Row]) -> Verdict:
    failed = [f"{row.variant} {row.cell} {row.errors}" for row in rows if row.errors]
    return Verdict("no errors", ", ".join(failed) or "0", not failed)
