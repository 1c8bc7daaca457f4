"""What is asked for -> which lines can be it, by their bytes, and which records are it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from gateway.audit_log.lines import time_of

REQUEST_EVENTS = frozenset({"begin", "end", "denied", "lost-end"})
"""What is written of requests. Everything else is about the gateway."""

Record = Mapping[str, Any]
_EXACT = ("subject", "user", "verdict", "code", "request_id", "token_hash", "client_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Everything that is given has to fit. `events` are names; none stands for those of requests."""

    subject: str = ""
    user: str = ""
    verdict: str = ""
    code: str = ""
    request_id: str = ""
    token_hash: str = ""
    client_id: str = ""
    job: str = ""
    operation: str = ""
    network: IPv4Network | IPv6Network | None = None
    since: datetime | None = None
    until: datetime | None = None
    events: frozenset[str] = REQUEST_EVENTS
    needles: tuple[bytes, ...] = field(init=False)
    """Bytes that a line has to have somewhere."""

    def __post_init__(self) -> None:
        """Looked for in millions of lines, so made once."""
        exact = [_member(name, getattr(self, name)) for name in _EXACT if getattr(self, name)]
        job = [f'"{self.job}'.encode()] if self.job else []
        object.__setattr__(self, "needles", tuple(one for one in (*exact, *job) if one))

    def may_match(self, text: bytes) -> bool:
        """Whether the line has to be read. Costs well under a microsecond."""
        return all(needle in text for needle in self.needles) and self._in_time(text)

    def _in_time(self, text: bytes) -> bool:
        """To the second: both ends of a line's second count as in it."""
        if self.since is None and self.until is None:
            return True
        second = time_of(text)[:19]
        return not second or (
            (self.since is None or second >= _second(self.since))
            and (self.until is None or second <= _second(self.until))
        )

    def matches(self, record: Record) -> bool:
        """Whether this is what is asked for."""
        return (
            event_of(record) in self.events
            and all(
                record.get(name) == wanted
                for name in _EXACT
                if (wanted := getattr(self, name)) != ""
            )
            and (not self.job or any(self._is_job(one) for one in record.get("job_ids", ())))
            and (not self.operation or self._is_operation(record))
            and (self.network is None or self._is_near(record))
            and self._is_then(record)
        )

    def _is_job(self, job_id: object) -> bool:
        """4711 is also every task of the array 4711."""
        return str(job_id) == self.job or str(job_id).startswith(f"{self.job}_")

    def _is_operation(self, record: Record) -> bool:
        """By its name, which has * for the version, or by method and target."""
        asked = f"{record.get('method', '')} {record.get('target', '')}"
        named = str(record.get("operation", ""))
        return named == self.operation or any(
            fnmatchcase(one, self.operation) for one in (named, asked.partition("?")[0])
        )

    def _is_near(self, record: Record) -> bool:
        try:
            return self.network is not None and ip_address(record["client_address"]) in self.network
        except (KeyError, ValueError):
            return False

    def _is_then(self, record: Record) -> bool:
        if self.since is None and self.until is None:
            return True
        moment = moment_of(record)
        return moment is not None and (
            (self.since is None or moment >= self.since)
            and (self.until is None or moment < self.until)
        )


def event_of(record: Record) -> str:
    """Records of gateways that wrote one line a request have no event."""
    event = record.get("event")
    if isinstance(event, str):
        return event
    return "denied" if record.get("verdict") == "denied" else "end"


def moment_of(record: Record) -> datetime | None:
    """None where it has no time that can be read."""
    try:
        moment = datetime.fromisoformat(record["time"])
    except (KeyError, ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _second(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _member(name: str, value: str) -> bytes:
    """As it stands in a line; empty where there is more than one way to write it."""
    if not value.isascii() or not value.isprintable():
        return b""
    return f'"{name}":{json.dumps(value)}'.encode()
