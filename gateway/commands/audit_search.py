"""Files of the audit and what is asked for -> the requests that fit, one row each."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from gateway.audit_log.searching import Row, search_files
from gateway.commands.audit_filters import Troubles, filter_options, paths_of, query_of, reading_bar
from gateway.commands.audit_table import table

EXIT_CODES = """\b
Exit codes:
  0  something was found
  1  nothing was found
  2  wrong usage, or something could not be read (told on standard error with its place)
"""


@click.command(
    epilog=f"""\b
Examples:
  slurm-gateway audit search --user alice --since yesterday
  slurm-gateway audit search --job 4711
  slurm-gateway audit search --verdict denied --address 192.0.2.0/24 --since 2h --json
  slurm-gateway audit search --operation 'DELETE *' /var/log/slurm-gateway/audit*
  slurm-gateway audit search --token-file token.txt
  slurm-gateway audit search --event start --event reload
{EXIT_CODES}"""
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@filter_options()
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N.")
@click.option("--raw", is_flag=True, help="The lines as they are: begin and end apart.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one record a line.")
def search(
    files: tuple[Path, ...], limit: int | None, *, raw: bool, as_json: bool, **options: Any
) -> None:
    """Find requests in the audit: who, what, when, from where, with which token.

    Every option that is given has to fit. The two lines of a request come as one row, in the order of
    their time; one whose end is missing shows as unfinished. FILES may be in any order, rotated and
    compressed; without any, those of the configuration are searched.

    It does not check whether lines are genuine: `audit verify` does.
    """
    query, troubles = query_of(options), Troubles()
    found = troubles.look_into(paths_of(files, options["config"]))
    with reading_bar(found, hidden=sys.stdout.isatty()) as progress:  # rows are progress enough
        rows = search_files(found, query, troubles, joined=not raw, progress=progress)
        shown = show(islice(rows, limit), as_json=as_json)
    sys.exit(troubles.exit_code(shown))


def show(rows: Iterable[Row], *, as_json: bool) -> int:
    """Print as they come; how many that were."""
    counted = _Counted(rows)
    for line in map(as_line, counted) if as_json else table(counted):
        click.echo(line)
    return counted.count


def as_line(row: Row) -> str:
    """JSON in ASCII, so that nothing in it disturbs a terminal."""
    return json.dumps(row, separators=(",", ":"))


class _Counted:
    """Counts what passes through."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row
