"""The proxied paths: one request in, one answer out, one audit record, whatever happens.

By the gateway's own HTTP protocol (`visit`), or as a pure ASGI application behind any server.
"""

import time
from collections.abc import Awaitable, Callable

from gateway.model import AuditRecord
from gateway.request.request_id import RequestIds
from gateway.web.client import AsgiReceive, AsgiSend, Client, Scope, client_of
from gateway.web.serving import Serving
from gateway.web.visit import Visit


class Proxy:
    """Takes the serving generation once, when a request begins: a reload never changes one under way.

    `serving` is called once a request, and what it returned hears of the request's end.
    """

    def __init__(
        self, serving: Callable[[], Serving], now: Callable[[], float] = time.time
    ) -> None:
        self._serving = serving
        self._now = now
        self._new_id = RequestIds()

    async def __call__(self, scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
        """ASGI 3, `http` scopes only."""
        await self.visit(client_of(scope, receive, send))

    def visit(self, client: Client) -> Awaitable[None]:
        """Serve one request. Raises AnswerAborted where its answer breaks off in the middle."""
        record = AuditRecord(self._new_id(), self._now(), client.method)
        return Visit(self._serving(), record, client).run()
