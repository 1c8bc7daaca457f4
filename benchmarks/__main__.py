"""Command line -> measured cells, results.json, docs/performance.md, verdicts, exit code.

`make bench` runs every cell with every variant. A run of a part prints its tables and writes
nothing, because it would mix figures of different hours.
"""

import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import click

from benchmarks.cells import CELLS, Cell, Group, Upstream
from benchmarks.identity import make_provider
from benchmarks.lineup import UnfitError, backend_of, lineup
from benchmarks.load import LoadError
from benchmarks.machine import OtherWork, describe_machine
from benchmarks.measure import Effort
from benchmarks.processes import ProcessStartError
from benchmarks.report import MarkersMissingError, as_markdown, as_text, write_between_markers
from benchmarks.results import Row, make_rows, write_rows
from benchmarks.rounds import run_rounds
from benchmarks.scene import Variant
from benchmarks.variants import VARIANTS, express, fastapi
from benchmarks.verdicts import Verdict, judge
from lab import packages
from lab.machine import MachineLacksError
from lab.processes import LabError
from lab.progress import Progress
from lab.rootfs import MovedError

CHECKOUT = Path(__file__).resolve().parent.parent
RESULTS = CHECKOUT / "benchmarks" / "results.json"
DOCUMENT = CHECKOUT / "docs" / "performance.md"
STATE = CHECKOUT / ".lab" / "bench"

QUICK = Effort(seconds=1, pairs=200, downloads=1, long_seconds=12, submissions=50)
EXPECTED = (
    LoadError,
    MarkersMissingError,
    ProcessStartError,
    UnfitError,
    LabError,
    MachineLacksError,
    MovedError,
)


@click.command()
@click.option("--quick", is_flag=True, help="One short round of everything: a smoke test.")
@click.option(
    "--cell",
    "cells",
    multiple=True,
    type=click.Choice([cell.name for cell in CELLS]),
    help="Only this cell; may be given several times.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice([variant.name for variant in VARIANTS]),
    help="Only this variant; may be given several times. Ratios need haproxy.",
)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option(
    "--seconds",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Seconds of load for each variant in each round.",
)
@click.option(
    "--keep", is_flag=True, help="Keep configurations and logs below .lab/bench after the run."
)
def main(
    *,
    quick: bool,
    cells: tuple[str, ...],
    variants: tuple[str, ...],
    rounds: int,
    seconds: int,
    keep: bool,
) -> None:
    """Measure the gateway beside direct, nginx, HAProxy, Apache, a Node.js and a Python gateway.

    Variants take turns within each round; ratios are medians of the ratios within a round.
    Exit code 1 means errors (answers that were not 200, broken connections, timeouts) or a
    variant that could not run; a missed target is printed and leaves the exit code at 0.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    others = OtherWork()
    effort = QUICK if quick else Effort(seconds, pairs=1000, downloads=3)
    chosen_cells = [cell for cell in CELLS if not cells or cell.name in cells]
    chosen = [variant for variant in VARIANTS if not variants or variant.name in variants]
    try:
        rows = _measure(chosen_cells, chosen, 1 if quick else rounds, effort, others, keep=keep)
        machine = [*describe_machine(), describe_peers(), others.describe()]
        verdicts = judge(rows)
        if not (quick or cells or variants):
            _write(rows, verdicts, machine)
    except EXPECTED as error:
        click.echo(f"benchmark failed: {error}", err=True)
        sys.exit(1)
    click.echo(f"\n{as_text(rows)}\n")
    click.echo("\n".join(machine) + "\n")
    for verdict in verdicts:
        click.echo(verdict.line)
    sys.exit(1 if any(row.errors for row in rows) else 0)


def _measure(
    cells: Sequence[Cell],
    variants: Sequence[Variant],
    rounds: int,
    effort: Effort,
    others: OtherWork,
    *,
    keep: bool,
) -> list[Row]:
    """Run the cells group by group, so that each group's variants start once."""
    needed = [*packages.GROUPS["bench"], *packages.GROUPS["store"]]
    packages.install(needed, Progress("packages"))
    rows: list[Row] = []
    with _folder(keep) as folder:
        provider = make_provider(folder)
        for upstream in (Upstream.SLURM, Upstream.STUB):  # what may fail should fail early
            own = [cell for cell in cells if cell.group.upstream is upstream]
            if own:
                with backend_of(upstream, folder) as backend:
                    for group in dict.fromkeys(cell.group for cell in own):
                        chosen = asked(own, group, variants)
                        with (
                            lineup(group, backend, chosen, provider, folder) as running,
                            _watch(group, others),
                        ):
                            for cell in own:
                                if cell.group == group:
                                    figures = run_rounds(cell, running, rounds, effort)
                                    rows += make_rows(cell, figures)
    return sorted(rows, key=lambda row: [cell.name for cell in CELLS].index(row.cell))


def asked(cells: Sequence[Cell], group: Group, variants: Sequence[Variant]) -> list[Variant]:
    """Return the variants that some cell of the group compares."""
    own = [cell for cell in cells if cell.group == group]
    return [one for one in variants if any(cell.compares(one.name) for cell in own)]


def _watch(group: Group, others: OtherWork) -> AbstractContextManager[None]:
    """Watch for other programs where all that works for the benchmark is started by it."""
    return others.watched() if group.upstream is Upstream.STUB else nullcontext()


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    """Make a folder for this run's configurations, logs and keys."""
    folder = STATE / str(os.getpid())
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        if keep:
            click.echo(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


def describe_peers() -> str:
    """Return the versions of what no Debian package brings."""
    return ", ".join([*express.versions(), *fastapi.versions()])


def _write(rows: Sequence[Row], verdicts: Sequence[Verdict], machine: Sequence[str]) -> None:
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    write_rows(RESULTS, rows)
    write_between_markers(DOCUMENT, as_markdown(rows, verdicts, machine, command))
    click.echo(f"wrote {RESULTS} and {DOCUMENT}")


if __name__ == "__main__":
    main()
