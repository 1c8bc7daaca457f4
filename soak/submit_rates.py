"""Rounds of submissions -> ratios within each round, and a table that says whether the target was met."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from soak.behind import REAL, SERIAL, SLURMS

DURABILITIES = ("off", "buffered", "durable")
CONNECTIONS = (1, 16)
WANTED = 0.9
"""Of the rate with the audit off, at 16 connections, in front of a Slurm that works as Slurm does."""
WANTED_OF = (SERIAL, REAL)


class Cell(NamedTuple):
    """What is compared."""

    slurm: str
    connections: int
    with_key: bool
    durability: str


@dataclass(frozen=True)
class Round:
    """What one load of some seconds came to."""

    slurm: str
    connections: int
    with_key: bool
    durability: str
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Of the gateway, for each submission."""
    errors: int
    submissions: int = 0


def describe_rounds(measured: Sequence[Round]) -> str:
    """How many there were in front of each."""
    counts = Counter(row.slurm for row in measured)
    a_round = len(CONNECTIONS) * 2 * len(DURABILITIES)
    return ", ".join(f"{name} {count // a_round}" for name, count in counts.items())


def ratios_to_off(measured: Sequence[Round], one: Cell) -> list[float]:
    """The ratio within each round, the lowest first."""
    own, off = (
        [row.per_second for row in measured if _cell(row) == cell]
        for cell in (one, one._replace(durability="off"))
    )
    return sorted(mine / its for mine, its in zip(own, off, strict=True))


def _cell(row: Round) -> Cell:
    return Cell(row.slurm, row.connections, row.with_key, row.durability)


def as_markdown(measured: Sequence[Round], run: Sequence[str]) -> str:
    """A row for each cell, then what was wanted."""
    lines = [
        *(f"- {line}" for line in run),
        "",
        (
            "| Slurm | connections | key | audit | submissions/s | of off | in the rounds"
            " | p50 ms | p99 ms | CPU µs | errors |"
        ),
        "|---|---:|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    verdicts = []
    for cell in dict.fromkeys(sorted(map(_cell, measured), key=_order)):
        own = [row for row in measured if _cell(row) == cell]
        ratios = ratios_to_off(measured, cell)
        ratio = statistics.median(ratios)
        lines.append(_row(cell, own, ratios))
        judged = cell.slurm in WANTED_OF and cell.connections == max(CONNECTIONS)
        if judged and cell.durability == "durable":
            met = "met" if ratio >= WANTED else "MISSED"
            named = "with" if cell.with_key else "without"
            verdicts.append(f"{cell.slurm} {named} a key {ratio:.2f}, {met}")
    wanted = (
        f"In front of a Slurm that takes one submission after the other, durable shall reach {WANTED:g} of off"
        f" at 16 connections: {'; '.join(verdicts)}."
    )
    return "\n".join([*lines, "", wanted])


def _order(cell: Cell) -> tuple[int, int, bool, int]:
    return (
        SLURMS.index(cell.slurm),
        cell.connections,
        cell.with_key,
        DURABILITIES.index(cell.durability),
    )


def _row(cell: Cell, own: Sequence[Round], ratios: Sequence[float]) -> str:
    name, connections, with_key, durability = cell
    median: Mapping[str, float] = {
        figure: statistics.median(getattr(row, figure) for row in own)
        for figure in ("per_second", "p50_ms", "p99_ms", "cpu_us")
    }
    return (
        f"| {name} | {connections} | {'yes' if with_key else 'no'} | {durability} | {median['per_second']:.0f}"
        f" | {statistics.median(ratios):.2f} | {ratios[0]:.2f} to {ratios[-1]:.2f}"
        f" | {median['p50_ms']:.2f} | {median['p99_ms']:.2f} | {median['cpu_us']:.0f}"
        f" | {sum(row.errors for row in own)} |"
    )
