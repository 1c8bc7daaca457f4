"""Rows of texts -> a table as Slurm's commands print one: a heading, no lines, and nothing cut off."""

from collections.abc import Sequence

import click
from tabulate import tabulate

from gateway.client.trouble import printable

_COLOURS = {
    "PENDING": "yellow",
    "PD": "yellow",
    "RUNNING": "green",
    "R": "green",
    "COMPLETED": "blue",
    "CD": "blue",
    "FAILED": "red",
    "F": "red",
    "TIMEOUT": "red",
    "TO": "red",
    "OUT_OF_MEMORY": "red",
    "OOM": "red",
    "NODE_FAIL": "red",
    "NF": "red",
    "idle": "green",
    "mix": "cyan",
    "alloc": "blue",
    "down": "red",
    "drain": "yellow",
    "drng": "yellow",
}
_STATE_COLUMNS = frozenset({"ST", "STATE", "State"})


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, heading: bool = True
) -> None:
    """Print it. States have colours on a terminal; names of others cannot speak to it."""
    clean = [
        [
            _coloured(column, printable(cell, 4096))
            for column, cell in zip(columns, row, strict=True)
        ]
        for row in rows
    ]
    if not clean:
        if heading:
            click.echo("  ".join(columns))
        return
    shown = tabulate(
        clean,
        headers=columns if heading else (),
        tablefmt="plain",
        disable_numparse=True,
    )
    for line in shown.splitlines():
        click.echo(line.rstrip())


def _coloured(column: str, cell: str) -> str:
    colour = _COLOURS.get(cell.rstrip("*~#!%$@^+-")) if column in _STATE_COLUMNS else None
    return click.style(cell, fg=colour) if colour else cell
