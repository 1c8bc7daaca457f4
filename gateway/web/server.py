"""(bound socket, ASGI application) -> a uvicorn server that drains when it is told to."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Awaitable, Callable, Collection, Generator
from math import ceil
from typing import Any

import uvicorn

from gateway.web.listening import Bound

AsgiApplication = Callable[..., Awaitable[None]]

_ABORT_SECONDS = 0.5
_TICK_SECONDS = 0.05

_log = logging.getLogger(__name__)


def asgi3(application: AsgiApplication, **options: Any) -> uvicorn.Config:
    """Have uvicorn serve ASGI 3 and nothing of its own: no log, no lifespan, no header about proxies or itself."""
    return uvicorn.Config(
        application,
        interface="asgi3",
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        **options,
    )


class Listener(uvicorn.Server):
    """One listening socket. The process's signals are not its business; see `stop`."""

    def __init__(
        self,
        name: str,
        bound: Bound,
        application: AsgiApplication,
        *,
        protocol: Callable[..., asyncio.Protocol],
        tls: ssl.SSLContext | None = None,
        keep_alive_seconds: float = 75.0,
    ) -> None:
        options: dict[str, Any] = {"http": protocol, "timeout_keep_alive": ceil(keep_alive_seconds)}
        if tls is not None:
            options["ssl_context_factory"] = lambda _config, _default: tls
        super().__init__(asgi3(application, **options))
        self.name = name
        self._bound = bound
        self._serving: asyncio.Task[None] | None = None
        self._drain_seconds = 0.0
        self._hurry = asyncio.Event()

    @property
    def connections(self) -> int:
        """Client connections open now."""
        return len(self.server_state.connections)

    @property
    def address(self) -> str:
        """Where it listens, with the real port."""
        return self._bound.address

    def adjust(self, protocol: Callable[..., asyncio.Protocol], keep_alive_seconds: float) -> None:
        """Use these for connections from now on; the ones that are open keep theirs."""
        self.config.http_protocol_class = protocol  # type: ignore[assignment]  # only called
        self.config.timeout_keep_alive = ceil(keep_alive_seconds)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the process: two listeners share it."""
        yield

    async def begin(self) -> None:
        """Accept connections; returns when the socket listens."""
        self._serving = asyncio.create_task(self.serve(sockets=[self._bound.socket]))
        while not self.started:
            if self._serving.done():
                await self._serving
                raise RuntimeError(f"the {self.name} listener has ended at once")
            await asyncio.sleep(0)

    async def stop(self, drain_seconds: float) -> None:
        """No new connections; running requests have `drain_seconds`, then are cut off."""
        self._drain_seconds = drain_seconds
        self.should_exit = True
        if self._serving is not None:
            await self._serving
        self._bound.close()

    def hurry(self) -> None:
        """Wait no longer for running requests."""
        self._hurry.set()

    async def shutdown(self, sockets: object = None) -> None:  # noqa: ARG002 (the signature is uvicorn's)
        """Close the listener and idle connections, wait for running requests, abort the rest."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        tasks = self.server_state.tasks
        if not await _becomes_empty(tasks, self._drain_seconds, self._hurry):
            _log.warning(
                "%s: %d requests cut off, with %g s to drain",
                self.name,
                len(tasks),
                self._drain_seconds,
            )
            for task in list(tasks):
                task.cancel()
            await _becomes_empty(tasks, _ABORT_SECONDS)
        await self._abort_connections()

    async def _abort_connections(self) -> None:
        """A peer that never answers the end of TLS or TCP does not hold up the exit."""
        await _becomes_empty(self.server_state.connections, _ABORT_SECONDS)
        for connection in list(self.server_state.connections):
            transport = getattr(connection, "transport", None)
            if transport is not None:
                transport.abort()
        await asyncio.sleep(0)


async def _becomes_empty(
    things: Collection[object], seconds: float, hurry: asyncio.Event | None = None
) -> bool:
    """Whether a set of uvicorn's runs empty in time. It tells nobody when it does, so we look."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while things:
        if loop.time() >= end or (hurry is not None and hurry.is_set()):
            return False
        await asyncio.sleep(_TICK_SECONDS)
    return True
