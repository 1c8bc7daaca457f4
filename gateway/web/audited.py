"""The portal's ASGI application -> the same, with an audit record and a request id for each request."""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from gateway.denial import Denied, Reason
from gateway.model import AuditRecord, Clock, Secret
from gateway.pipeline import note_denial
from gateway.web.client import AsgiReceive, AsgiSend, Message, Scope
from gateway.web.problems import render

_FIRST_ERROR_STATUS: Final = 400
_REASONS: Final = {
    reason.status: reason for reason in (Reason.PAGE_UNKNOWN, Reason.METHOD_NOT_ALLOWED)
}
_RULE: Final = "portal"
_LOGOUT_TOKENS: Final = b"/login/backchannel/"
"""What a provider posts here is a token, and those who left would stay signed in without it."""

FindClient = Callable[[Sequence[tuple[bytes, bytes]], str | None], tuple[str, str]]

_log = logging.getLogger(__name__)


class Closes(Protocol):
    """The audit, as far as a page needs it: one record, when all is over."""

    async def close(self, record: AuditRecord) -> None: ...


class AnonymousBudget(Protocol):
    """How many requests may come without a token, by address."""

    async def count(self, address: str, digest: bytes | None) -> None:
        """Count one, unless the token with this SHA-256 has verified before. Raises Denied."""
        ...


class Audited:
    """What needs no token is counted and recorded too. `find_client` reads X-Forwarded-For as receive does."""

    def __init__(
        self,
        application: Callable[[Scope, AsgiReceive, AsgiSend], Awaitable[None]],
        audit: Closes,
        find_client: FindClient,
        budget: AnonymousBudget,
        now: Clock = time.time,
    ) -> None:
        self._application = application
        self._audit = audit
        self._find_client = find_client
        self._budget = budget
        self._now = now

    async def __call__(self, scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
        """ASGI 3, `http` scopes only."""
        began = self._now()
        record = AuditRecord(os.urandom(16).hex(), began, scope["method"])
        query: bytes = scope["query_string"]
        path: bytes = scope["raw_path"]
        record.raw_target = (path + b"?" + query if query else path).decode("latin-1")
        client = scope["client"]
        record.client_address, record.forwarded_for = self._find_client(
            scope["headers"], client[0] if client else None
        )
        record.granted, record.rule = True, _RULE

        async def close() -> None:
            record.total_seconds = self._now() - began
            await self._audit.close(record)

        answering = _Answering(record, send, close)
        try:
            if not path.startswith(_LOGOUT_TOKENS):
                digest = _token_digest(scope["headers"])
                await self._budget.count(record.client_address, digest)
            await self._application(
                {**scope, "gateway.request_id": record.request_id, "gateway.record": record},
                receive,
                answering,
            )
        except Denied as refusal:
            await answering.refuse(refusal)
        except Exception:  # noqa: BLE001 (whatever it is, the client gets an answer)
            _log.exception("request %s: the portal failed", record.request_id)
            await answering.refuse(Denied(Reason.INTERNAL_ERROR))
        finally:
            await answering.close()


class _Answering:
    """Passes an answer on, adds the request id, and writes into the record what goes out.

    The record is closed before the last part leaves: nobody has an answer that the audit does not know.
    """

    def __init__(
        self, record: AuditRecord, send: AsgiSend, close: Callable[[], Awaitable[None]]
    ) -> None:
        self._record = record
        self._send = send
        self._close = close
        self._is_closed = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._note_status(message["status"])
            request_id = (b"x-request-id", self._record.request_id.encode())
            others = [pair for pair in message["headers"] if pair[0] != b"x-request-id"]
            message = {**message, "headers": [*others, request_id]}
        else:
            self._record.bytes_out += len(message.get("body", b""))
            self._record.complete = not message.get("more_body", False)
            if self._record.complete:
                await self.close()
        await self._send(message)

    async def close(self) -> None:
        """Once, however the answer ends."""
        if not self._is_closed:
            self._is_closed = True
            await self._close()

    def _note_status(self, status: int) -> None:
        if status >= _FIRST_ERROR_STATUS and not self._record.code:
            note_denial(self._record, Denied(_REASONS.get(status, Reason.INTERNAL_ERROR)))
        self._record.status = status

    async def refuse(self, refusal: Denied) -> None:
        """Say so, unless something was said already."""
        if self._record.status:
            return
        note_denial(self._record, refusal)
        status, headers, body = render(refusal, self._record.request_id)
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _token_digest(headers: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """The SHA-256 of the bearer token that came along, as the pipeline makes it; None without one."""
    for name, value in headers:
        scheme, _, token = value.strip(b" \t").partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer":
            return Secret(token.decode("latin-1")).digest()
    return None
