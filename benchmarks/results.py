"""Rounds of measures -> one row of medians for each cell and variant, and results.json."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from benchmarks.cells import Cell
from benchmarks.measure import Measure
from benchmarks.variants import REFERENCE
from benchmarks.variants.apache import Apache
from benchmarks.variants.direct import Direct

Round: TypeAlias = Mapping[str, Measure]
"""Variant's name -> its figures in this round."""


@dataclass(frozen=True)
class Row:
    """Medians over the rounds; errors are summed, memory growth is the largest seen."""

    cell: str
    variant: str
    connections: int
    requests_per_second: float
    ratio_to_haproxy: float | None
    ratio_to_apache: float | None
    ratio_to_direct: float | None
    p50_ms: float
    p99_ms: float
    cpu_us_per_request: float | None
    memory_growth_mb: float | None
    errors: int
    megabytes_per_second: float | None
    added_us: float | None
    calls_per_second: float | None
    slurmrestd_peak_mb: float | None
    rounds: int


def make_rows(cell: Cell, rounds: Sequence[Round]) -> list[Row]:
    """Return a row for each variant, in the order of the first round; none without rounds."""
    return [_row(cell, variant, rounds) for variant in (rounds[0] if rounds else ())]


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write results.json: a list of rows."""
    path.write_text(json.dumps([_rounded(row) for row in rows], indent=1) + "\n")


def _row(cell: Cell, variant: str, rounds: Sequence[Round]) -> Row:
    own = [figures[variant] for figures in rounds]

    def median(figure: Callable[[Measure], float | None]) -> float | None:
        return _over_rounds(statistics.median, map(figure, own))

    return Row(
        cell=cell.name,
        variant=variant,
        connections=cell.connections,
        requests_per_second=statistics.median(one.requests_per_second for one in own),
        ratio_to_haproxy=_ratio(variant, REFERENCE, rounds),
        ratio_to_apache=_ratio(variant, Apache.name, rounds),
        ratio_to_direct=_ratio(variant, Direct.name, rounds),
        p50_ms=statistics.median(one.p50_ms for one in own),
        p99_ms=statistics.median(one.p99_ms for one in own),
        cpu_us_per_request=median(lambda one: one.cpu_us_per_request),
        memory_growth_mb=_over_rounds(max, (one.memory_growth_mb for one in own)),
        errors=sum(one.errors for one in own),
        megabytes_per_second=median(lambda one: one.megabytes_per_second),
        added_us=median(lambda one: one.added_us),
        calls_per_second=median(lambda one: one.calls_per_second),
        slurmrestd_peak_mb=_over_rounds(max, (one.slurmrestd_peak_mb for one in own)),
        rounds=len(own),
    )


def _ratio(variant: str, reference: str, rounds: Sequence[Round]) -> float | None:
    """Return the median of the ratios within each round: what slowed one slowed both."""
    if reference not in rounds[0] or not all(_speed(figures[reference]) for figures in rounds):
        return None
    ratios = (_speed(figures[variant]) / _speed(figures[reference]) for figures in rounds)
    return statistics.median(ratios)


def _speed(measure: Measure) -> float:
    """Return megabytes a second where a body is measured, else requests a second."""
    return measure.megabytes_per_second or measure.requests_per_second


def _over_rounds(
    combine: Callable[[list[float]], float], values: Iterable[float | None]
) -> float | None:
    """Combine what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return combine(known) if known else None


def _rounded(row: Row) -> dict[str, str | float | None]:
    """Return the row with as many digits as the measurement carries."""
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in asdict(row).items()
    }
