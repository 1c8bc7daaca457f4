"""Bytes of a client connection -> whole, strictly read requests for the application, or a refusal.

uvicorn's httptools protocol, hardened where an ASGI application sees a fault too late or never:

- The parser gets a head only when it is complete and within its limits, and only when the answer
  before it is complete. So a refusal never overtakes an answer, and no verdict depends on how the
  bytes were cut on their way.
- Where a body ends is counted beside the parser; where the two disagree, the connection ends.
- Nothing is switched: no upgrade, no CONNECT, no HTTP/2, no WebSocket.
- A refusal is one problem document, is reported once, and is the end of its connection.

A fault inside a body belongs to a request that the application has already: there the application's
`receive()` raises Denied, so that it is answered and audited where the request is.

Requests that `serve` is for go to it at once, each as a Client (client.py); the others go to the ASGI
application, whose scope's "extensions" hold what ASGI lacks: "gateway.target", the raw request target as
it was sent, and "gateway.client", that same Client.
"""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
)
from uvicorn.server import ServerState

from gateway.denial import Denied, Reason
from gateway.web.body_framing import BodyFraming, body_framing
from gateway.web.exchange import Connection, Exchange, Outlet, Problem
from gateway.web.gone import GONE
from gateway.web.head_form import HEAD_END, check_complete, check_partial, method_and_target
from gateway.web.head_memo import HeadMemo
from gateway.web.idleness import Idleness
from gateway.web.parser_error import denied_by_parser
from gateway.web.protocol_terms import Refusal, Terms
from gateway.web.repeats import Repeats
from gateway.web.turns import Turns

_MAXIMUM_HELD_BYTES: Final = 65536
"""Pipelined bytes that are kept while an answer is under way, before reading stops."""
_NOTED: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})


class HardenedProtocol(HttpToolsProtocol):
    """One client connection. Made by a class that `hardened_protocol` (configured_protocol.py) has given its terms."""

    terms: ClassVar[Terms]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._read: Exchange  # made when its head has been read, started when head and body agree
        self._exchange: Exchange | None = None
        self._pending = b""
        self._body: BodyFraming | None = None
        self._noted: dict[bytes, bytes] = {}
        self._is_1_1 = True
        self._is_complete = False
        self._is_reusable = False
        self._is_over = self._is_ending = False
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._gone: Callable[[], None] | None = None
        self._turns = Turns(self.loop, self.tasks, lambda: self.transport.abort())  # noqa: PLW0108 (the transport is yet to come)
        self._event = asyncio.Event()
        self._repeats: Repeats
        self._idleness = Idleness(
            self.loop,
            self.timeout_keep_alive,
            lambda: self._is_busy() or bool(self._pending),
            self._close,
        )

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """Take the connection, or close it at once when there are too many."""
        limits = self.terms.limits
        if len(self.connections) >= limits.connections:
            self._is_over = True
            self.transport = transport
            transport.abort()
            self.terms.on_overflow()
            return
        super().connection_made(transport)
        outlet = Outlet(transport, self._finish, self.terms.late_writes)
        self._bare_outlet, self._outlet = outlet, cast("asyncio.Transport", outlet)
        turns, watching = self._turns, (self._watch, self._unwatch)
        ways = (outlet.write_late, self._report, outlet.abort, turns.task, *watching, turns.start)
        terms = self.terms
        given = (self, self._outlet, self._event, terms.serve, self.on_response_complete)
        self._own = own = Connection(self.app, *ways, terms.default_lines.render, *given)
        self._repeats = Repeats(terms.known_heads, self.client[0] if self.client else None, own)
        self._timer = self.loop.call_later(limits.header_seconds, self._on_deadline)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits for it that the client is gone."""
        self._is_over = True
        self._pending = b""
        self._stop_timer()
        if self._stall is not None:
            self._stall.cancel()
        super().connection_lost(exc)
        self._idleness.end()
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()  # what callbacks have served so far goes on in the task, before that ends
        self._turns.end()
        if self.flow is not None:  # it was one too many otherwise
            self.flow._transport = self.transport = GONE  # noqa: SLF001 (it has no other way)
            self._bare_outlet.let_go()

    def shutdown(self) -> None:
        """Close when the answer under way, if any, is complete."""
        self._is_reusable, self._is_ending = False, True
        self.terms.late_writes.flush()
        super().shutdown()

    def pause_writing(self) -> None:
        """Have the client read on in time: nothing else would ever end a wait for one that does not."""
        super().pause_writing()
        if self._stall is None:
            self._stall = self.loop.call_later(
                self.terms.limits.write_seconds, self.transport.abort
            )

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def data_received(self, data: bytes) -> None:
        """Read on, unless the connection has come to its end and only waits for the client's."""
        if self._is_over:
            return
        if not self._pending and self._body is None:
            exchange = self._exchange
            if exchange is None or exchange.response_complete:
                exchange = self._repeats.find(data)
                if exchange is not None:
                    self._repeat(exchange)
                    return
        known = len(self._pending)
        if known:
            data, self._pending = self._pending + data, b""
        self._consume(data, known)

    def _consume(self, data: bytes, known: int = 0) -> None:
        """Take body, head, body, head … out of the bytes; `known` of them were looked at before."""
        try:
            while data:
                if self._body is not None:
                    data = self._take_body(self._body, data)
                elif self._is_busy():
                    return self._hold(data)
                else:
                    data = self._take_head(data, known)
                known = 0
        except Denied as denied:
            self._fail(denied, data)

    def _is_busy(self) -> bool:
        return self._exchange is not None and not self._exchange.response_complete

    def _hold(self, data: bytes) -> None:
        self._pending = data
        if len(data) > _MAXIMUM_HELD_BYTES:
            self.flow.pause_reading()

    def _take_head(self, data: bytes, known: int) -> bytes:
        """Give a complete head to the parser and start its request; what is left over is returned."""
        limits = self.terms.limits
        # One empty line before a request is ignored (RFC 9112 section 2.2), for old clients.
        start = 2 if data.startswith(b"\r\n") else 0
        end = data.find(HEAD_END, start)
        if end < 0:
            check_partial(data[start:], max(known - start, 0), limits.head)
            self._pending = data
            if self._timer is None:
                self._timer = self.loop.call_later(limits.header_seconds, self._on_deadline)
            return b""
        end += len(HEAD_END)
        head = data[start:end]
        self._stop_timer()
        exchange = self._repeats.find(head)
        if exchange is not None:
            self._repeat(exchange)
            return data[end:]
        self._is_1_1 = check_complete(head, limits.head)
        self._repeats.forget()
        self._noted = {}
        self._is_complete = False
        try:
            self.parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            # An offer that is not taken (RFC 9110 section 7.8); the parser has read the head.
            pass
        except httptools.HttpParserError as error:
            raise denied_by_parser(error, head) from None
        if self._is_complete != (self._body is None):
            raise Denied(Reason.FRAMING_INVALID, "two readings of where the head's body ends")
        self._exchange = self._read
        if self._body is None and not self.expect_100_continue:
            self._repeats.learn(head, self._read)
        self._turns.start(self._read)
        return data[end:]

    def _repeat(self, exchange: Exchange) -> None:
        """Start a request whose head need not be read."""
        self.cycle = self._exchange = exchange
        exchange.default_headers = self.server_state.default_headers
        if self._timer is not None:
            self._stop_timer()
        if self._is_ending:
            exchange.keep_alive = False
        if exchange.memo.lane is not None and self._turns.ride(exchange.memo, exchange):
            return
        if exchange.serve is None:
            self._event.set()  # the whole request has come
        self._turns.start(exchange)

    def _take_body(self, body: BodyFraming, data: bytes) -> bytes:
        end = body.take(data)
        try:
            self.parser.feed_data(data[:end])
        except httptools.HttpParserError as error:
            raise Denied(Reason.FRAMING_INVALID, str(error)) from None
        if body.is_complete != self._is_complete:
            raise Denied(Reason.FRAMING_INVALID, "two readings of where the body ends")
        if body.is_complete:
            self._body = None
        return data[end:]

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field; keep those that frame the message apart."""
        name = name.lower()
        if name in _NOTED:
            if name in self._noted:
                reason = Reason.HOST_INVALID if name == b"host" else Reason.FRAMING_INVALID
                raise Denied(reason, f"{name.decode()} is repeated")
            self._noted[name] = value.strip(b" \t")
        elif name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Make the scope and the exchange of a head that the parser has read."""
        noted, parser, scope = self._noted, self.parser, self.scope
        if len(self.headers) > self.terms.limits.head.maximum_header_fields:
            raise Denied(Reason.HEADERS_TOO_LARGE)
        if not self.terms.is_valid_host(noted.get(b"host", b"")):
            raise Denied(Reason.HOST_INVALID)
        self._body = body_framing(noted, is_1_1=self._is_1_1)
        if self._body is not None and parser.should_upgrade():
            # The parser would take the body for the new protocol's first bytes.
            raise Denied(Reason.REQUEST_MALFORMED, "an upgrade with a body")
        self._is_reusable = self._is_1_1 and parser.should_keep_alive()
        raw_path, _, query = self.url.partition(b"?")
        path = raw_path.decode("ascii")
        if not self._is_1_1:
            scope["http_version"] = "1.0"
        scope["method"] = parser.get_method().decode("ascii")
        scope["path"] = self.root_path + (unquote(path) if "%" in path else path)
        scope["raw_path"] = self.root_path.encode("ascii") + raw_path
        scope["query_string"] = query
        self._make_exchange(raw_path)

    def _make_exchange(self, raw_path: bytes) -> None:
        terms, scope = self.terms, self.scope
        self._event.clear()
        self.cycle = self._read = exchange = self._own.exchange()
        exchange.scope, exchange.more_body = scope, True
        exchange.waiting_for_100_continue = self.expect_100_continue and self._is_1_1
        exchange.keep_alive = False  # until the whole request has been read
        exchange.method, exchange.raw_target = scope["method"], self.url
        exchange.headers, exchange.memo = self.headers, HeadMemo()
        exchange.peer = self.client[0] if self.client else None
        if terms.serve is None or not terms.is_served(raw_path):
            exchange.serve = None

    def on_message_complete(self) -> None:
        """The whole request has been read: what follows on this connection is the next one."""
        self._is_complete = True
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._is_reusable
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is complete: go on with what came in the meantime."""
        self._gone = None
        self._turns.answered()
        self.server_state.total_requests += 1
        if self._is_over or self.transport.is_closing():
            return
        if self.flow.read_paused:
            self.flow.resume_reading()
        self._idleness.begin()
        if self._pending:
            data, self._pending = self._pending, b""
            self._consume(data)

    def _watch(self, gone: Callable[[], None]) -> None:
        """Have `gone` called once, from the event loop, if the client goes away first."""
        if self._exchange is not None and self._exchange.disconnected:
            self.loop.call_soon(gone)
        else:
            self._gone = gone

    def _unwatch(self) -> None:
        self._gone = None

    def _on_deadline(self) -> None:
        self._timer = None
        if self._pending:
            self._fail(Denied(Reason.HEADERS_TIMEOUT), self._pending)
        else:
            self._close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, denied: Denied, data: bytes) -> None:
        """End the connection with a refusal, by whoever has the request."""
        self._is_over = True
        if self._exchange is not None and not self._exchange.response_complete:
            self._exchange.fault = denied
            self._exchange.keep_alive = False
            self._exchange.message_event.set()
            return
        method, target = method_and_target(data)
        try:
            status, headers, body = self._report(denied, method, target)
            self._write(status, headers, b"" if method == "HEAD" else body)
        finally:
            self._linger()

    def _report(self, denied: Denied, method: str, target: str) -> Problem:
        request_id = self.terms.new_request_id()
        peer = self.client[0] if self.client else None
        refusal = Refusal(denied.reason, denied.note, peer, method, target, request_id)
        self.terms.on_refusal(refusal)
        return self.terms.render_problem(denied, request_id)

    def _write(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        fields = [*self.server_state.default_headers, *headers, (b"connection", b"close")]
        lines = b"".join([b"%b: %b\r\n" % pair for pair in fields])
        self.terms.late_writes.flush()
        self.transport.write(STATUS_LINE[status] + lines + b"\r\n" + body)

    def _finish(self) -> None:
        """Close after an answer."""
        if self._body is None:
            self._close()
        else:
            self._linger()

    def _close(self) -> None:
        """Close when the client has read everything, or has had the time to."""
        self._stop_timer()
        self._idleness.end()
        self.terms.late_writes.flush()  # or an answer that the event loop had no time for is lost
        self.transport.close()
        self._timer = self.loop.call_later(self.terms.limits.write_seconds, self.transport.abort)

    def _linger(self) -> None:
        """Close, but let a client that still sends read the answer first (RFC 9112 section 9.6).

        With unread bytes a closed socket answers with a reset, which makes the client's side throw
        the answer away.
        """
        self._is_over = True
        self._pending = b""
        self._stop_timer()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(self.terms.limits.linger_seconds, self.transport.abort)
