"""Whoever sent one request -> what a visit reads of them and may do to them.

The gateway's own HTTP protocol is such a client (exchange.py); any other ASGI server's becomes one here.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Protocol

from gateway.web.head_memo import HeadMemo

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
AsgiReceive = Callable[[], Awaitable[Message]]
AsgiSend = Callable[[Message], Awaitable[None]]

_PATIENCE_SECONDS = 0.02
"""Most answers are there earlier, and a task for each would cost more than they do."""


class Client(Protocol):
    """One request's head, the rest of it, and the way back. `peer` is None for a UNIX socket."""

    @property
    def method(self) -> str: ...

    @property
    def raw_target(self) -> bytes: ...

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]: ...

    @property
    def peer(self) -> str | None: ...

    @property
    def memo(self) -> HeadMemo | None:
        """What the first stage made of this very head before; None where nobody remembers."""
        ...

    def receive(self) -> Awaitable[Any]:
        """The body, in ASGI's messages."""
        ...

    def send(self, message: Any, /) -> Awaitable[None]:
        """The answer, in ASGI's messages; waits for a client that does not read."""
        ...

    def respond(self, status: int, lines: bytes, body: bytes, /) -> bool:
        """A whole answer in one write; `lines` are complete header lines, Content-Length among them.

        False, and nothing is done, where it has to go by `send`.
        """
        ...

    def abort(self) -> None:
        """End the connection, so that half an answer is not taken for a whole one."""

    def task(self) -> asyncio.Task[Any] | None:
        """What serves the request."""
        ...

    def watch(self, gone: Callable[[], None], /) -> None:
        """Have `gone` called once, from the event loop, if the client goes away before `unwatch`."""

    def unwatch(self) -> None:
        """Nobody wants to know any more."""


class PortableClient:
    """A client by ASGI 3 alone, behind whatever server."""

    memo: HeadMemo | None = None

    def __init__(self, scope: Scope, receive: AsgiReceive, send: AsgiSend) -> None:
        self.method: str = scope["method"]
        self.raw_target = raw_target(scope)
        self.headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        self.peer: str | None = scope["client"][0] if scope["client"] else None
        self.receive = receive
        self.send = send
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def respond(self, status: int, lines: bytes, body: bytes, /) -> bool:
        """ASGI has no such thing."""
        del status, lines, body
        return False

    def abort(self) -> None:
        """A server closes the connection of an application that fails inside an answer."""

    def task(self) -> asyncio.Task[Any] | None:
        """The one that this was made in."""
        return self._task

    def watch(self, gone: Callable[[], None], /) -> None:
        """`receive` returns when the client has gone."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_PATIENCE_SECONDS, self._begin, gone)

    def _begin(self, gone: Callable[[], None]) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._wait(gone))

    async def _wait(self, gone: Callable[[], None]) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass
        gone()

    def unwatch(self) -> None:
        """End whatever waits."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None and not self._watcher.done():
            self._watcher.cancel()


def client_of(scope: Scope, receive: AsgiReceive, send: AsgiSend) -> Client:
    """The client that the server offers as the extension "gateway.client", or one made of ASGI."""
    offered: Client | None = (scope.get("extensions") or {}).get("gateway.client")
    return offered if offered is not None else PortableClient(scope, receive, send)


def raw_target(scope: Scope) -> bytes:
    """As the client sent it; by ASGI alone, an empty query cannot be told from none."""
    query: bytes = scope["query_string"]
    path: bytes = scope["raw_path"]
    return path + b"?" + query if query else path
