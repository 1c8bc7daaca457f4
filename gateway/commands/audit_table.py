"""Records -> lines of a table. Nothing that a client has chosen reaches the terminal unescaped."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import click

_COLUMNS = ("TIME", "USER", "STATUS", "CODE", "OPERATION", "JOBS", "ADDRESS", "REQUEST")
_WIDEST = (23, 20, 10, 26, 72, 20, 39, 36)
_USUAL = (23, 12, 10, 20, 56, 10, 15, 36)
_MEASURED = 200
_GAP = "  "


def printable(text: str) -> str:
    """Control characters, bidirectional marks and whatever else has no shape, as \\xNN or \\uNNNN."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def table(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A heading and one line a record. The first 200 decide on the widths."""
    rows = ((record, cells_of(record)) for record in records)
    first = list(islice(rows, _MEASURED))
    if not first:
        return
    widths = [
        min(max(len(cells[at]) for cells in (_COLUMNS, *(cells for _, cells in first))), widest)
        for at, widest in enumerate(_WIDEST)
    ]
    yield from _lines(chain(first, rows), widths)


def growing_table(records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The same with the usual widths, so that every line comes at once."""
    yield from _lines(((record, cells_of(record)) for record in records), _USUAL)


def _lines(
    rows: Iterable[tuple[Mapping[str, Any], Sequence[str]]], widths: Sequence[int]
) -> Iterator[str]:
    yield click.style(_line(_COLUMNS, widths), bold=True)
    for record, cells in rows:
        denied = record.get("verdict") == "denied"
        yield click.style(_line(cells, widths), fg="red") if denied else _line(cells, widths)


def cells_of(record: Mapping[str, Any]) -> tuple[str, ...]:
    """What stands in the columns. A record of the gateway itself shows what it is about."""
    if "request_id" not in record:
        about = " ".join(f"{name}={value}" for name, value in record.items() if name not in _FRAME)
        event = str(record.get("event", "?"))
        return tuple(map(printable, (_time(record), "-", event, "", about, "", "", "")))
    cells = (
        _time(record),
        str(record.get("user") or "-"),
        _status(record),
        str(record.get("code", "")),
        f"{record.get('method', '')} {record.get('target', '')}",
        ",".join(map(str, record.get("job_ids") or ())),
        str(record.get("client_address", "")),
        str(record.get("request_id", "")),
    )
    return tuple(map(printable, cells))


_FRAME = frozenset({"seq", "chain", "event", "time", "mac"})


def _time(record: Mapping[str, Any]) -> str:
    """To the millisecond, in UTC as it is written."""
    return str(record.get("time", ""))[:23].removesuffix("Z")


def _status(record: Mapping[str, Any]) -> str:
    match record.get("event"):
        case "begin":
            return "unfinished"
        case "lost-end":
            return "lost"
    status = str(record.get("status") or "-")
    return status if record.get("complete", True) else f"{status} cut"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    fitted = (
        f"{cell if len(cell) <= width else cell[: width - 1] + '…':<{width}}"
        for cell, width in zip(cells, widths, strict=True)
    )
    return _GAP.join(fitted).rstrip()
