"""The proxied paths as a pure ASGI application: one request in, one answer out, one audit record, whatever happens."""

import os
import time
from collections.abc import Callable

from gateway.model import AuditRecord
from gateway.web.disconnect import AsgiReceive, AsgiSend, Scope
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
        record = AuditRecord(os.urandom(16).hex(), self._now(), scope["method"])
        visit = Visit(self._serving(), record, scope, receive, send)
        await visit.run(raw_target(scope))


def raw_target(scope: Scope) -> bytes:
    """As the client sent it; by ASGI alone, an empty query cannot be told from none."""
    offered: bytes | None = (scope.get("extensions") or {}).get("gateway.target")
    if offered is not None:
        return offered
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return path + b"?" + query if query else path
