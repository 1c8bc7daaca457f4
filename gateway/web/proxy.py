"""The proxied paths: one request in, one answer out, one audit record, whatever happens.

By the gateway's own HTTP protocol (`visit`), or as a pure ASGI application behind any server.
"""

import time
from collections.abc import Callable

from gateway.model import AuditRecord
from gateway.web.client import AsgiReceive, AsgiSend, Client, Scope, client_of
from gateway.web.protocol_terms import new_request_id
from gateway.web.visit import Serving, Visit


class Proxy:
    """Takes the serving generation once, when a request begins: a reload never changes one under way."""

    def __init__(
        self, serving: Callable[[], Serving], now: Callable[[], float] = time.time
    ) -> None:
        self._serving = serving
        self._now = now

    async def __call__(self, scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
        """ASGI 3, `http` scopes only."""
        await self.visit(client_of(scope, receive, send))

    async def visit(self, client: Client) -> None:
        """Serve one request. Raises AnswerAborted where its answer breaks off in the middle."""
        record = AuditRecord(new_request_id(), self._now(), client.method)
        await Visit(self._serving(), record, client).run()
