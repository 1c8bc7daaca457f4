"""(cell, line-up, rounds) -> every variant's figures of each round, in alternating order."""

from collections.abc import Sequence

import click

from benchmarks.cells import Cell
from benchmarks.lineup import Lineup
from benchmarks.measure import Effort, Measure, Subject
from benchmarks.results import Round

WARM_UP = Effort(seconds=1, pairs=100, downloads=1, long_seconds=1, submissions=20)


def run_rounds(cell: Cell, lineup: Lineup, rounds: int, effort: Effort) -> list[Round]:
    """Warm every variant up, then measure; each round starts with another variant.

    What slows the machine down for a while then slows neighbours in time alike, and the ratios
    within a round stay true. Nothing, where no variant that is asked was chosen.
    """
    subjects = [one for one in lineup.subjects if cell.compares(one.name)]
    count = min(rounds, cell.maximum_rounds) if subjects else 0
    for subject in subjects:
        (cell.warmed_by or cell.measurement)(subject, lineup.direct, WARM_UP)
    return [
        _one_round(cell, _rotated(subjects, index), lineup.direct, effort, f"{index + 1}/{count}")
        for index in range(count)
    ]


def _one_round(
    cell: Cell, subjects: Sequence[Subject], direct: Subject, effort: Effort, label: str
) -> Round:
    figures: dict[str, Measure] = {}
    for subject in subjects:
        figures[subject.name] = cell.measurement(subject, direct, effort)
        click.echo(f"{cell.name} round {label} {_line(subject.name, figures[subject.name])}")
    return figures


def _rotated(subjects: Sequence[Subject], by: int) -> list[Subject]:
    start = by % len(subjects) if subjects else 0
    return [*subjects[start:], *subjects[:start]]


def _line(name: str, measure: Measure) -> str:
    parts = [f"{name:8}", f"{measure.requests_per_second:9.1f} requests/s"]
    parts.append(f"p50 {measure.p50_ms:8.3f} p99 {measure.p99_ms:8.3f} ms")
    if measure.megabytes_per_second is not None:
        parts.append(f"{measure.megabytes_per_second:6.0f} MB/s")
    if measure.added_us is not None:
        parts.append(f"{measure.added_us:+6.0f} us")
    if measure.calls_per_second is not None:
        parts.append(f"{measure.calls_per_second:.2f} calls/s")
    if measure.slurmrestd_peak_mb is not None:
        parts.append(f"slurmrestd {measure.slurmrestd_peak_mb:.0f} MB")
    return "  ".join([*parts, f"errors {measure.errors}"])
