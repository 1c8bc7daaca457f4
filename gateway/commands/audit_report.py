"""Files of the audit -> who asked for how much, what was refused, which API versions are still in use."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gateway.audit_log.searching import search_files
from gateway.audit_log.tally import Talker, Tally
from gateway.commands.audit_filters import Troubles, filter_options, paths_of, query_of, reading_bar
from gateway.commands.audit_search import EXIT_CODES
from gateway.commands.audit_table import printable

_COLUMNS = 60
_BLOCKS = " ▁▂▃▄▅▆▇█"
_UNITS = ("B", "kB", "MB", "GB", "TB")
_THOUSAND = 1000
_HOUR = 60
_MOST_REMEMBERED = 10_000
_NUMERIC = frozenset({"N", "REQUESTS", "DENIED", "IN", "OUT"})


@click.command(
    epilog=f"""\b
Examples:
  slurm-gateway audit report --since 7d
  slurm-gateway audit report --verdict denied --since yesterday
  slurm-gateway audit report --user alice --json /var/log/slurm-gateway/audit*
{EXIT_CODES}"""
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@filter_options()
@click.option("--top", default=10, show_default=True, type=click.IntRange(min=1), metavar="N")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def report(files: tuple[Path, ...], top: int, *, as_json: bool, **options: Any) -> None:
    """Sum up the audit: requests by user, class and verdict, refusals, API versions, top talkers.

    The options of `audit search` choose what is counted. FILES may be in any order, rotated and compressed;
    without any, those of the configuration are read. --top is how many rows each table may have.
    """
    query, troubles = query_of(options), Troubles()
    found = troubles.look_into(paths_of(files, options["config"]))
    tally = Tally(_Classes())
    with reading_bar(found) as progress:
        tally.add_all(search_files(found, query, troubles, progress=progress))
    if as_json:
        click.echo(json.dumps(_document(tally), indent=2))
    else:
        _print(tally, top)
    sys.exit(troubles.exit_code(tally.requests))


class _Classes:
    """The risk class of a row's operation. A refused request has none in its record, but may name one."""

    def __init__(self) -> None:
        from gateway.slurm_api import read_catalogue

        self._catalogue = read_catalogue()
        entries = self._catalogue.entries
        self._known = {entry.operation.name: entry.operation.risk.value for entry in entries}

    def __call__(self, row: Mapping[str, Any]) -> str:
        name = row.get("operation") or f"{row.get('method', '')} {row.get('target', '')}"
        known = self._known.get(name)
        if known is None:
            known = self._named(row)
            if len(self._known) < _MOST_REMEMBERED:
                self._known[name] = known
        return known

    def _named(self, row: Mapping[str, Any]) -> str:
        path = str(row.get("target", "")).partition("?")[0]
        match = self._catalogue.match(str(row.get("method", "")), path)
        return match.found.entry.operation.risk.value if match else ""


def _document(tally: Tally) -> dict[str, object]:
    minutes, columns = tally.histogram(_COLUMNS)
    return {
        "requests": tally.requests,
        "unfinished": tally.unfinished,
        "first": tally.first.isoformat() if tally.first else None,
        "last": tally.last.isoformat() if tally.last else None,
        "by_user_class_verdict": [
            {"user": user, "class": risk, "verdict": verdict, "requests": count}
            for (user, risk, verdict), count in tally.by_class.most_common()
        ],
        "refusals_by_code": dict(tally.by_code.most_common()),
        "api_versions": [
            {"version": version, "client": client, **_as_json(talker)}
            for (version, client), talker in sorted(tally.versions.items())
        ],
        "users": {name: _as_json(talker) for name, talker in _busiest(tally.users)},
        "addresses": {name: _as_json(talker) for name, talker in _busiest(tally.addresses)},
        "minutes_a_column": minutes,
        "histogram": [{"granted": granted, "denied": denied} for granted, denied in columns],
    }


def _as_json(talker: Talker) -> dict[str, object]:
    return {
        "requests": talker.requests,
        "denied": talker.denied,
        "bytes_in": talker.bytes_in,
        "bytes_out": talker.bytes_out,
        "last": talker.last,
    }


def _busiest(talkers: Mapping[str, Talker]) -> list[tuple[str, Talker]]:
    return sorted(talkers.items(), key=lambda item: (-item[1].requests, item[0]))


def _print(tally: Tally, top: int) -> None:
    if not tally.requests:
        click.echo("No request passes these filters.", err=True)
        return
    click.echo(f"{tally.requests} requests from {_shown(tally.first)} to {_shown(tally.last)}")
    if tally.unfinished:
        click.echo(f"{tally.unfinished} of them without an end")
    if sys.stdout.isatty():
        _print_histogram(tally)
    classes = (
        (user, risk, verdict, str(count))
        for (user, risk, verdict), count in tally.by_class.most_common()
    )
    _section("Requests by user, class and verdict", ("USER", "CLASS", "VERDICT", "N"), classes, top)
    codes = ((code, str(count)) for code, count in tally.by_code.most_common())
    _section("Refusals and failures by code", ("CODE", "N"), codes, top)
    versions = (
        (version, client, *_cells(talker))
        for (version, client), talker in sorted(tally.versions.items())
    )
    heading = ("REQUESTS", "DENIED", "IN", "OUT", "LAST")
    _section("API versions in use", ("VERSION", "CLIENT", *heading), versions, top)
    for title, name, talkers in (
        ("Top users", "USER", tally.users),
        ("Top addresses", "ADDRESS", tally.addresses),
    ):
        rows = ((who, *_cells(talker)) for who, talker in _busiest(talkers))
        _section(title, (name, *heading), rows, top)


def _cells(talker: Talker) -> Iterator[str]:
    yield str(talker.requests)
    yield str(talker.denied)
    yield _size(talker.bytes_in)
    yield _size(talker.bytes_out)
    yield talker.last[:19]


def _section(title: str, heading: Sequence[str], rows: Iterable[Sequence[str]], most: int) -> None:
    """A table with numbers to the right; it tells how many rows it leaves out."""
    found = [[printable(cell) for cell in row] for row in rows]
    if not found:
        return
    click.secho(f"\n{title}", bold=True)
    shown = found[:most]
    widths = [max(map(len, column)) for column in zip(heading, *shown, strict=True)]
    numeric = [name in _NUMERIC for name in heading]
    for row in (heading, *shown):
        cells = (
            f"{cell:>{width}}" if right else f"{cell:<{width}}"
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        click.echo(f"  {'  '.join(cells).rstrip()}")
    if len(found) > most:
        click.echo(f"  and {len(found) - most} more (--top)")


def _print_histogram(tally: Tally) -> None:
    minutes, columns = tally.histogram(_COLUMNS)
    highest = max((granted + denied for granted, denied in columns), default=0)
    for title, colour, counts in (
        ("granted", "green", [granted for granted, _ in columns]),
        ("denied", "red", [denied for _, denied in columns]),
    ):
        bar = click.style(blocks(counts, highest), fg=colour)
        click.echo(f"  {title:<8}{bar}")
    width = f"{minutes} min" if minutes < _HOUR else f"{minutes // _HOUR} h"
    click.echo(f"  a column is {width}, the highest {highest} requests")


def blocks(counts: Sequence[int], highest: int) -> str:
    """One block character a number; whatever is more than nothing shows."""
    steps = len(_BLOCKS) - 1
    return "".join(_BLOCKS[-(-count * steps // highest) if count else 0] for count in counts)


def _shown(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if moment else "?"


def _size(count: float) -> str:
    """2.5 MB."""
    unit = 0
    while count >= _THOUSAND and unit + 1 < len(_UNITS):
        count, unit = count / _THOUSAND, unit + 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{count:.0f} B"
