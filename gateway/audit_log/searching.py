"""(lines, a query) -> records that fit, with the two lines of a request joined into one."""

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from itertools import count
from typing import Any

import orjson

from gateway.audit_log.files import AuditFile, Blocks, Unreadable, in_order
from gateway.audit_log.lines import looks_unfinished, split_glued
from gateway.audit_log.query import Query, event_of, moment_of
from gateway.audit_log.runs import Place

_REQUEST_ID = re.compile(rb'"request_id":"([^"\\]*)"')
_SLACK = timedelta(hours=1)
_WINDOW = 10_000

Row = dict[str, Any]
Tell = Callable[[Place, str], None]


class Search:
    """Takes lines in the order they were written; gives rows. What cannot be read goes to `tell`.

    A joined row has `begin_seq`, the number of its first line; its `event` is "begin" where no end was
    found.
    """

    def __init__(self, query: Query, tell: Tell, *, joined: bool = True) -> None:
        self._query = query
        self._tell = tell
        self._joined = joined
        self._begun: dict[str, Row] = {}

    def rows(self, lines: Iterable[bytes], file: str, number: int = 0) -> Iterator[Row]:
        """`number` is that of the line before."""
        may_match, begun = self._query.may_match, self._begun
        for line in lines:
            number += 1
            if may_match(line) or (begun and self._ends_a_begun(line)):
                yield from self._row(line, Place(file, number))
            elif not (line.startswith(b'{"') and line.endswith(b"}\n")):
                self._odd(line, Place(file, number))

    def unfinished(self) -> Iterator[Row]:
        """Requests whose end has not come."""
        yield from self._begun.values()
        self._begun.clear()

    def _ends_a_begun(self, line: bytes) -> bool:
        found = _REQUEST_ID.search(line)
        return found is not None and found[1].decode("utf-8", "replace") in self._begun

    def _row(self, line: bytes, place: Place) -> Iterator[Row]:
        record = self._read(line, place)
        if record is None:
            return
        event = event_of(record)
        if not self._joined:
            if self._query.matches(record):
                yield record
        elif event == "begin":
            if self._query.matches(record):
                self._begun[str(record.get("request_id"))] = record
        else:
            begun = self._begun.pop(str(record.get("request_id", "")), None)
            if begun is not None:
                record = {**begun, **record, "time": begun["time"], "begin_seq": begun.get("seq")}
            if self._query.matches(record):
                yield record

    def _read(self, line: bytes, place: Place) -> Row | None:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            record = None
        if isinstance(record, dict):
            return record
        if glued := split_glued(line):
            self._odd(glued[0], place)
            return self._read(glued[1].text, place)
        self._odd(line, place)
        return None

    def _odd(self, line: bytes, place: Place) -> None:
        if not line.strip(b"\0\n"):
            return
        unfinished = looks_unfinished(line) and not line.endswith(b"}\n")
        self._tell(place, "an unfinished line" if unfinished else "no line of an audit")


def search_files(
    files: Iterable[AuditFile],
    query: Query,
    tell: Tell,
    *,
    joined: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[Row]:
    """Rows of all files in the order of their time. Chains of several processes are merged.

    Lines are written in the order in which things happen, and a request's time is that of its beginning:
    rows are put in order within a window, which is enough unless a request outlasts 10,000 others.
    """
    chains: dict[str, list[AuditFile]] = {}
    for file in in_order(files):
        chains.setdefault(file.chain, []).append(file)
    streams = [
        _in_time_order(
            _chain_rows(group, Search(query, tell, joined=joined), query, tell, progress)
        )
        for group in chains.values()
    ]
    return heapq.merge(*streams, key=_time)


def _chain_rows(
    files: list[AuditFile],
    search: Search,
    query: Query,
    tell: Tell,
    progress: Callable[[int], None],
) -> Iterator[Row]:
    for file, following in zip(files, [*files[1:], None], strict=True):
        if _is_outside(file, following, query):
            progress(file.size())
            continue
        number = consumed = 0
        blocks = Blocks(file.path)
        try:
            for lines in blocks:
                yield from search.rows(lines, str(file.path), number)
                number += len(lines)
                progress(blocks.consumed - consumed)
                consumed = blocks.consumed
        except Unreadable as error:
            tell(Place(str(file.path), error.line), f"cannot be read any further: {error.why}")
    yield from search.unfinished()


def _is_outside(file: AuditFile, following: AuditFile | None, query: Query) -> bool:
    """Whether a whole file was written too early or too late. Requests may last an hour."""
    begins = moment_of({"time": file.time})
    if query.until is not None and begins is not None and begins > query.until + _SLACK:
        return True
    ends = moment_of({"time": following.time}) if following else None
    return query.since is not None and ends is not None and ends < query.since - _SLACK


def _time(row: Row) -> str:
    return str(row.get("time", ""))


def _in_time_order(rows: Iterator[Row]) -> Iterator[Row]:
    waiting: list[tuple[str, int, Row]] = []
    order = count()
    for row in rows:
        entry = (_time(row), next(order), row)
        if len(waiting) < _WINDOW:
            heapq.heappush(waiting, entry)
        else:
            yield heapq.heappushpop(waiting, entry)[2]
    while waiting:
        yield heapq.heappop(waiting)[2]
