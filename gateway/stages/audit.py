"""AuditRecord -> one JSON line, the same fields for every request, to every sink."""

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import quote

import orjson

from gateway.denial import Denied, Reason
from gateway.model import AuditRecord, InboundRequest

_MAXIMUM_TARGET = 2048
_MAXIMUM_TEXT = 512
_REDACTED = "REDACTED"

_log = logging.getLogger(__name__)


class AuditSink(Protocol):
    """Takes whole lines. `write` raises OSError where the line is not safely handed over."""

    def write(self, line: bytes) -> None: ...

    def probe(self) -> None:
        """Raise OSError where a line could not be written now."""
        ...

    def close(self) -> None: ...


class AuditTrail:
    """Renders each record once and writes it to all sinks; without a working sink nothing passes."""

    def __init__(
        self,
        sinks: Sequence[AuditSink],
        *,
        cluster: str,
        listed_query_values: frozenset[str],
        observers: Sequence[Callable[[AuditRecord], None]] = (),
    ) -> None:
        self._sinks = tuple(sinks)
        self._cluster = cluster
        self._listed = listed_query_values
        self._observers = tuple(observers)
        self._broken = False
        self.written = 0
        self.failures = 0

    @property
    def is_working(self) -> bool:
        """Whether the last write to every sink succeeded."""
        return not self._broken

    async def open(self, record: AuditRecord) -> None:
        """Refuse what could not be recorded: after a failed write, until every sink takes lines again."""
        if self._broken:
            self._recover(record)

    def _recover(self, record: AuditRecord) -> None:
        try:
            for sink in self._sinks:
                sink.probe()
        except OSError as error:
            raise Denied(
                Reason.AUDIT_UNAVAILABLE,
                f"{record.request_id}: {error.strerror}",
                headers=(("Retry-After", "5"),),
            ) from error
        self._broken = False

    async def close(self, record: AuditRecord) -> None:
        """Write the record, whatever became of the request, and tell the observers."""
        line = render_line(record, self._cluster, self._listed)
        for sink in self._sinks:
            try:
                sink.write(line)
            except OSError as error:
                self._broken = True
                self.failures += 1
                _log.error("audit sink failed: %s", error.strerror)
        self.written += 1
        for observe in self._observers:
            observe(record)


def render_line(record: AuditRecord, cluster: str, listed: frozenset[str]) -> bytes:
    """One line of JSON. Control characters are escaped; a text that is no Unicode is kept, escaped."""
    fields = _fields(record, cluster, listed)
    try:
        return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
    except orjson.JSONEncodeError:  # a lone surrogate; a record is never lost over it
        return json.dumps(fields, default=str).encode() + b"\n"


def _fields(record: AuditRecord, cluster: str, listed: frozenset[str]) -> dict[str, object]:
    """All fields, present or empty."""
    identity, user, call = record.identity, record.user, record.call
    return {
        "time": datetime.fromtimestamp(record.time, UTC),
        "request_id": record.request_id,
        "cluster": cluster,
        "issuer": identity.issuer if identity else "",
        "subject": identity.subject[:_MAXIMUM_TEXT] if identity else "",
        "client_id": identity.client_id[:_MAXIMUM_TEXT] if identity else "",
        "token_hash": identity.token_hash if identity else record.token_hash,
        "user": user.name if user else "",
        "roles": user.roles if user else (),
        "client_address": record.client_address,
        "forwarded_for": record.forwarded_for,
        "method": record.method[:_MAXIMUM_TEXT],
        "operation": call.operation.name if call else "",
        "target": shown_target(record, listed),
        "verdict": "granted" if record.granted else "denied",
        "code": record.code,
        "rule": record.rule,
        "note": record.note[:_MAXIMUM_TEXT],
        "status": record.status,
        "body_sha256": record.body_sha256,
        "slurm_errors": record.slurm_errors,
        "job_ids": record.job_ids,
        "bytes_in": record.bytes_in,
        "bytes_out": record.bytes_out,
        "upstream_ms": round(record.upstream_seconds * 1000, 3),
        "total_ms": round(record.total_seconds * 1000, 3),
        "complete": record.complete,
    }


def shown_target(record: AuditRecord, listed: frozenset[str]) -> str:
    """The target with the values of unlisted query parameters redacted; none of a query never parsed."""
    if record.request is None:
        path, mark, _ = record.raw_target.partition("?")
        shown = quote(path, safe="/%[],+:@=;\\#")
        return (shown + mark + (_REDACTED if mark else ""))[:_MAXIMUM_TARGET]
    if not record.request.target.query:
        return record.request.target.path
    return _shown_parsed(record.request, listed)[:_MAXIMUM_TARGET]


def _shown_parsed(request: InboundRequest, listed: frozenset[str]) -> str:
    pairs = (
        f"{name}={value if name in listed else _REDACTED}" for name, value in request.target.query
    )
    return f"{request.target.path}?{'&'.join(pairs)}"
