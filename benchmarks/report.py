"""Rows and verdicts -> the table on the terminal and the table in docs/performance.md."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.cells import CELLS
from benchmarks.results import Row
from benchmarks.verdicts import Verdict

BEGIN = "<!-- bench:begin (make bench writes what stands between the marks) -->"
END = "<!-- bench:end -->"

COLUMNS = (
    "variant",
    "requests/s",
    "x HAProxy",
    "p50 ms",
    "p99 ms",
    "CPU us/request",
    "memory growth MB",
    "errors",
)
EXTRA = {
    "stub-200mb": ("MB/s",),
    "stub-200mb-slow": ("MB/s",),
    "stub-50mb-up": ("MB/s",),
    "stub-50mb-up-slow": ("MB/s",),
    "first-sight": ("added us",),
    "slurm-1": ("added us",),
    "slurm-16-submits": ("x direct",),
    "slurm-cache": ("x direct", "calls/s", "slurmrestd MB"),
    "slurm-cache-arena": ("calls/s", "slurmrestd MB"),
    "slurm-cache-plain": ("calls/s", "slurmrestd MB"),
}
"""Further columns of a cell."""
FIGURES: Mapping[str, Callable[[Row], str]] = {
    "MB/s": lambda row: _number(row.megabytes_per_second, 0),
    "added us": lambda row: _number(row.added_us, 0),
    "x direct": lambda row: _number(row.ratio_to_direct, 2),
    "calls/s": lambda row: _number(row.calls_per_second, 2),
    "slurmrestd MB": lambda row: _number(row.slurmrestd_peak_mb, 0),
}


class MarkersMissingError(Exception):
    """The document has no place for the table."""


def as_text(rows: Sequence[Row]) -> str:
    """Return the tables for a terminal, one for each cell."""
    return "\n\n".join(
        "\n".join([f"{cell}: {title}", *_aligned(table)]) for cell, title, table in _tables(rows)
    )


def as_markdown(
    rows: Sequence[Row], verdicts: Sequence[Verdict], machine: Sequence[str], command: str
) -> str:
    """Return the generated part of docs/performance.md."""
    parts = [f"Command: `{command}`. Machine:", *(f"- {line}" for line in machine), ""]
    for cell, title, table in _tables(rows):
        parts += [f"**{cell}** - {title}, median of {_rounds(rows, cell)} rounds", ""]
        parts += [*_piped(table), ""]
    parts += ["| target | measured | |", "|---|---|---|"]
    parts += [f"| {one.target} | {one.measured} | {_word(one)} |" for one in verdicts]
    return "\n".join(parts)


def write_between_markers(document: Path, text: str) -> None:
    """Replace what stands between the marks; refuse a document without them."""
    before, begin, rest = document.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        message = f"{document} lacks the marks {BEGIN} and {END}"
        raise MarkersMissingError(message)
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def _tables(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[list[str]]]]:
    for cell in CELLS:
        own = [row for row in rows if row.cell == cell.name]
        if own:
            extra = EXTRA.get(cell.name, ())
            table = [[*COLUMNS, *extra], *(_fields(row, extra) for row in own)]
            yield cell.name, cell.title, table


def _fields(row: Row, extra: Sequence[str]) -> list[str]:
    return [
        row.variant,
        _number(row.requests_per_second, 0 if row.requests_per_second >= 100 else 2),
        _number(row.ratio_to_haproxy, 2),
        _number(row.p50_ms, 3),
        _number(row.p99_ms, 3),
        _number(row.cpu_us_per_request, 0),
        _number(row.memory_growth_mb, 1),
        str(row.errors),
        *(FIGURES[name](row) for name in extra),
    ]


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _aligned(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *others in table:
        cells = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *cells])


def _piped(table: Sequence[Sequence[str]]) -> Iterator[str]:
    head, *body = table
    yield f"| {' | '.join(head)} |"
    yield "|---" + "|---:" * (len(head) - 1) + "|"
    yield from (f"| {' | '.join(fields)} |" for fields in body)


def _rounds(rows: Sequence[Row], cell: str) -> int:
    return max(row.rounds for row in rows if row.cell == cell)


def _word(verdict: Verdict) -> str:
    return {True: "met", False: "**missed**", None: "not measured"}[verdict.met]
