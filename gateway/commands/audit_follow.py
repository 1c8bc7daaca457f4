"""The file that the gateway writes, and what is asked for -> rows as the requests end."""

import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click

from gateway.audit_log.runs import Place
from gateway.audit_log.searching import Row, Search
from gateway.audit_log.tailing import Tail
from gateway.commands.audit_filters import Troubles, current_files, filter_options, query_of
from gateway.commands.audit_search import as_line
from gateway.commands.audit_table import growing_table

_LOOK_SECONDS = 0.2


@click.command(
    epilog="""\b
Examples:
  slurm-gateway audit follow
  slurm-gateway audit follow --verdict denied
  slurm-gateway audit follow --user alice --json | jq .target
\b
It ends with Ctrl-C, or after --limit rows, and exits with 2 if anything could not be read, else with 0.
"""
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@filter_options(times=False)
@click.option("--from-start", is_flag=True, help="First everything that the file holds.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after N.")
@click.option("--raw", is_flag=True, help="The lines as they come: begin and end apart.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one record a line.")
def follow(
    files: tuple[Path, ...],
    limit: int | None,
    *,
    from_start: bool,
    raw: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Print requests as they end, over rotations, like `tail -F`.

    FILES are the files that gateways write now; without any, that of the configuration. A file that is
    not there yet is waited for.
    """
    query, troubles = query_of(options), Troubles()
    paths = list(files) or current_files(options["config"])
    if not paths:
        raise click.UsageError(f"name a file: {options['config']} has no file sink")
    try:
        followed = [
            (Tail(path, from_start=from_start), Search(query, troubles, joined=not raw))
            for path in paths
        ]
        rows = islice(_rows(followed, troubles), limit)
        for line in map(as_line, rows) if as_json else growing_table(rows):
            click.echo(line)
            sys.stdout.flush()
    except KeyboardInterrupt:
        click.echo("", err=True)
    except OSError as error:
        raise click.BadParameter(
            f"{error.filename}: {error.strerror}", param_hint="FILES"
        ) from error
    sys.exit(troubles.exit_code(found=1))


def _rows(followed: list[tuple[Tail, Search]], troubles: Troubles) -> Iterator[Row]:
    """For ever."""
    while True:
        quiet = True
        for tail, search in followed:
            lines = tail.poll()
            if tail.gap:
                troubles(Place(str(tail.path), tail.line), tail.gap)
            quiet = quiet and not lines
            yield from search.rows(lines, str(tail.path), tail.line - len(lines))
        if quiet:
            time.sleep(_LOOK_SECONDS)
