"""Rows of the audit -> how often: by user, class and verdict, by code, by API version and client, over time."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.audit_log.query import REQUEST_EVENTS, event_of, moment_of

_VERSION = re.compile(r"^/(?:slurm|slurmdb)/(v\d+\.\d+\.\d+)(?:/|$)")
_NOBODY = "-"


@dataclass(slots=True)
class Talker:
    """What one user or address has asked for."""

    requests: int = 0
    denied: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    last: str = ""

    def add(self, row: Mapping[str, Any]) -> None:
        """One request."""
        self.requests += 1
        self.denied += row.get("verdict") == "denied"
        self.bytes_in += _number(row.get("bytes_in"))
        self.bytes_out += _number(row.get("bytes_out"))
        self.last = max(self.last, str(row.get("time", "")))


@dataclass(slots=True)
class Tally:
    """`class_of` gives the risk class of what a row asked for, or nothing where it named no operation."""

    class_of: Callable[[Mapping[str, Any]], str]
    requests: int = 0
    unfinished: int = 0
    first: datetime | None = None
    last: datetime | None = None
    by_class: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    by_code: Counter[str] = field(default_factory=Counter)
    versions: dict[tuple[str, str], Talker] = field(default_factory=dict)
    users: dict[str, Talker] = field(default_factory=dict)
    addresses: dict[str, Talker] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    granted_by_minute: Counter[int] = field(default_factory=Counter)
    denied_by_minute: Counter[int] = field(default_factory=Counter)

    def add_all(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows as `searching` joins them."""
        for row in rows:
            self.add(row)

    def add(self, row: Mapping[str, Any]) -> None:
        """One row."""
        event = event_of(row)
        if event not in REQUEST_EVENTS:
            self.events[event] += 1
            return
        self.requests += 1
        self.unfinished += event in ("begin", "lost-end")
        user = str(row.get("user") or _NOBODY)
        verdict = str(row.get("verdict") or _NOBODY)
        self.by_class[user, self.class_of(row) or _NOBODY, verdict] += 1
        if row.get("code"):
            self.by_code[str(row["code"])] += 1
        if version := _VERSION.match(str(row.get("target", ""))):
            client = str(row.get("client_id") or row.get("subject") or _NOBODY)
            self.versions.setdefault((version[1], client), Talker()).add(row)
        self.users.setdefault(user, Talker()).add(row)
        self.addresses.setdefault(str(row.get("client_address") or _NOBODY), Talker()).add(row)
        self._put_in_time(row, verdict)

    def _put_in_time(self, row: Mapping[str, Any], verdict: str) -> None:
        moment = moment_of(row)
        if moment is None:
            return
        self.first = moment if self.first is None else min(self.first, moment)
        self.last = moment if self.last is None else max(self.last, moment)
        counter = self.denied_by_minute if verdict == "denied" else self.granted_by_minute
        counter[int(moment.timestamp() // 60)] += 1

    def histogram(self, columns: int) -> tuple[int, list[tuple[int, int]]]:
        """(minutes a column, granted and denied of each column), with at most so many columns."""
        minutes = [*self.granted_by_minute, *self.denied_by_minute]
        if not minutes:
            return 1, []
        first, last = min(minutes), max(minutes)
        width = _round_up((last - first) // columns + 1)
        first -= first % width
        found = [(0, 0)] * ((last - first) // width + 1)
        for minute in set(minutes):
            granted, denied = found[(minute - first) // width]
            found[(minute - first) // width] = (
                granted + self.granted_by_minute[minute],
                denied + self.denied_by_minute[minute],
            )
        return width, found


_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)


def _round_up(minutes: int) -> int:
    """A width that people think in: minutes, hours, then whole days."""
    day = _WIDTHS[-1]
    return next((one for one in _WIDTHS if one >= minutes), -(-minutes // day) * day)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
