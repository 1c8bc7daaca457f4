"""A request's head -> 204 with the target and headers that another proxy sends to slurmrestd, or the problem.

Decides as the gateway does before it forwards, and hands out the Slurm token that it would have sent. So
it stands on a UNIX socket of its own: whoever reaches it can act as whoever has a token for here.
"""

import json
import logging
import time
from collections.abc import Callable
from time import monotonic
from typing import Final, NamedTuple, Protocol

import orjson

from gateway.denial import Denied, Reason
from gateway.edges.own_operations import OWN
from gateway.model import Admission, AuditRecord, InboundRequest, UpstreamCredential
from gateway.pipeline import Pipeline, note_denial
from gateway.request.request_id import RequestIds
from gateway.web.client import AsgiReceive, AsgiSend, Scope
from gateway.web.problems import render
from gateway.web.serving import Receive

NOTE: Final = "decision-only"
_NO_CONTENT: Final = 204

_log = logging.getLogger(__name__)


class Decided(NamedTuple):
    """What the other proxy has to send, and nothing else."""

    admission: Admission
    credential: UpstreamCredential

    def headers(self) -> list[tuple[bytes, bytes]]:
        """For the answer; the target is canonical and goes out byte for byte."""
        request, call = self.admission.request, self.admission.call
        return [
            (b"x-gateway-target", call.target),
            (b"x-gateway-accept", request.accept.encode("latin-1")),
            (b"x-slurm-user-name", self.credential.user.encode("latin-1")),
            (b"x-slurm-user-token", self.credential.token.reveal.encode("latin-1")),
            (b"x-request-id", request.request_id.encode()),
            (b"cache-control", b"no-store"),
        ]


class Audit(Protocol):
    """One record a request: what is granted before it is handed out, or why nothing is."""

    async def decide(self, record: AuditRecord) -> None:
        """Raises Denied where it cannot be written."""
        ...

    async def close(self, record: AuditRecord) -> None: ...


class Decisions(NamedTuple):
    """What one configuration decides with. `ended` is called once for each request."""

    receive: Receive
    pipeline: Pipeline
    audit: Audit
    ended: Callable[[], None]


class ForwardAuth:
    """The ASGI application. `enter` is called once a request; see Serving."""

    def __init__(
        self, enter: Callable[[], Decisions], now: Callable[[], float] = time.time
    ) -> None:
        self._enter = enter
        self._now = now
        self._new_id = RequestIds()

    async def __call__(self, scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:  # noqa: ARG002 (ASGI's)
        """ASGI 3, `http` scopes only. Whatever the path, it is what is decided on."""
        decisions = self._enter()
        query: bytes = scope["query_string"]
        path: bytes = scope["raw_path"]
        record = AuditRecord(self._new_id(), self._now(), scope["method"])
        record.raw_target = (path + b"?" + query if query else path).decode("latin-1")
        try:
            status, headers, body = await _answer(decisions, scope, record)
        finally:
            decisions.ended()
        start = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": body})


async def _answer(
    decisions: Decisions, scope: Scope, record: AuditRecord
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    started = monotonic()
    try:
        decided = await _decide(decisions, scope, record)
    except Denied as denied:
        refusal = denied
    except Exception:  # noqa: BLE001  # whatever it is, the answer is no
        _log.exception("request %s: no decision", record.request_id)
        refusal = Denied(Reason.INTERNAL_ERROR)
    else:
        return _NO_CONTENT, decided.headers(), b""
    note_denial(record, refusal)
    record.note = "; ".join(filter(None, (NOTE, record.note)))
    record.complete, record.total_seconds = True, monotonic() - started
    await decisions.audit.close(record)
    status, headers, body = render(refusal, record.request_id)
    # a proxy that only looks at the status can still hand the problem on
    return status, [*headers, (b"x-gateway-problem", _in_ascii(body))], body


def _in_ascii(body: bytes) -> bytes:
    """The same JSON as a header's value may be."""
    return json.dumps(orjson.loads(body), separators=(",", ":")).encode()


async def _decide(decisions: Decisions, scope: Scope, record: AuditRecord) -> Decided:
    started, client = monotonic(), scope["client"]
    headers, peer = scope["headers"], client[0] if client else None
    receive, pipeline = decisions.receive, decisions.pipeline
    record.client_address, record.forwarded_for = receive.client(headers, peer)
    target = record.raw_target.encode("latin-1")
    request = receive(scope["method"], target, headers, peer, record.request_id)
    admission = await pipeline.admit(request, record)
    try:
        _check_is_all(admission)
        credential = await pipeline.credential(admission.identity, admission.user, request.bearer)
    finally:
        admission.lease.release()  # nobody tells when the request ends
    record.granted, record.rule, record.note = True, admission.call.rule, NOTE
    record.status, record.complete = _NO_CONTENT, True
    record.total_seconds = monotonic() - started
    await decisions.audit.decide(record)
    return Decided(admission, credential)


def _check_is_all(admission: Admission) -> None:
    """Raises Denied(DECISION_INCOMPLETE) where more than the head decides."""
    request, call = admission.request, admission.call
    for is_more, what in (
        (call.operation.template in OWN, "the gateway answers it itself"),
        (call.operation.takes_body or _may_have_body(request), "it takes a body"),
        (call.has_body_rules, "there are rules on its body"),
        (call.selection is not None, "the gateway cuts the answer down"),
        (call.own_jobs_only, "it is limited to the caller's own jobs"),
        (bool(request.idempotency_key), "it has an Idempotency-Key"),
    ):
        if is_more:
            detail = f"{Reason.DECISION_INCOMPLETE.sentence} Here {what}."
            raise Denied(Reason.DECISION_INCOMPLETE, what, detail=detail)


def _may_have_body(request: InboundRequest) -> bool:
    return request.length != 0
