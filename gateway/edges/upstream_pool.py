"""A credential -> a connection to slurmrestd that may serve it: a kept one, or a new one within the total."""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.edges.late_writes import LateWrites
from gateway.edges.upstream_answer import Room
from gateway.edges.upstream_connection import Credential, UpstreamConnection
from gateway.model import Lease
from gateway.stages.forward import read_head

_HTTP_PORT = 80
_FIRST_ERROR_STATUS = 400
_TICK_SECONDS = 0.25
_HEADS_REMEMBERED = 128
_ANYBODY: Credential = ("", "")
"""Under this key stand the connections that any credential may use."""


class Address(NamedTuple):
    """A UNIX socket's path, or a host and port."""

    path: str
    host: str
    port: int

    @classmethod
    def parse(cls, upstream: str) -> "Address":
        """From "unix:/path" or "http://host:port", as the configuration writes it."""
        if upstream.startswith("unix:"):
            return cls(upstream.removeprefix("unix:"), "", 0)
        parts = urlsplit(upstream)
        return cls("", parts.hostname or "", parts.port or _HTTP_PORT)

    @property
    def host_header(self) -> str:
        """What the Host header says; slurmrestd does not look at it."""
        if self.path:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class ConnectFailed(Exception):
    """No connection within the time; nothing was sent."""


class UpstreamPool:
    """Kept connections, the last used first. A connection serves the credential it was opened with.

    20.11 authenticates the connection, not the request, so only `share` lets connections serve
    anybody; without `may_share` the proof that it needs is never asked for. Sharing ends with `lapse`:
    when a connection ends by itself, when connecting fails, or when none is left, the next
    slurmrestd may be another release.
    """

    def __init__(
        self,
        address: Address,
        *,
        connections: int,
        connect_seconds: float,
        idle_seconds: float,
        buffer_bytes: int,
        may_share: bool = True,
        on_kept: Callable[[UpstreamConnection, Lease | None], bool] = lambda _c, _l: False,
        late_writes: LateWrites | None = None,
    ) -> None:
        self._address = address
        self._most = connections
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._room = Room(buffer_bytes, connections * buffer_bytes)
        self._may_share = may_share
        self._read_head = lru_cache(_HEADS_REMEMBERED)(read_head)
        self._late_writes = late_writes or LateWrites()
        self._open: set[UpstreamConnection] = set()
        self._idle: dict[Credential, list[UpstreamConnection]] = {}
        self._opening = 0
        self._witness: UpstreamConnection | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self.on_kept = on_kept
        self.generation = 0
        self.is_shared = False
        self.is_reachable: bool | None = None

    def take(self, credential: Credential) -> UpstreamConnection | None:
        """A kept connection that this credential may use and that nothing has happened to."""
        kept = self._idle.get(_ANYBODY if self.is_shared else credential)
        if not kept:
            return None
        connection = kept.pop()
        if connection.is_fresh():
            return connection
        self._drop(connection)
        self.lapse()
        return None

    async def open(self, credential: Credential) -> UpstreamConnection:
        """A new connection. Raises ConnectFailed."""
        self._make_room()
        generation = self.generation
        self._opening += 1
        try:
            async with asyncio.timeout(self._connect_seconds):
                connection = await self._connect(credential, generation)
        except (OSError, TimeoutError) as error:
            self.is_reachable = False
            self.lapse()
            raise ConnectFailed(type(error).__name__) from error
        finally:
            self._opening -= 1
        self.is_reachable = True
        self._open.add(connection)
        if self._ticking is None:
            self._tick()
        return connection

    async def _connect(self, credential: Credential, generation: int) -> UpstreamConnection:
        loop = asyncio.get_running_loop()

        def protocol() -> UpstreamConnection:
            return UpstreamConnection(
                self,
                self._read_head,
                credential,
                generation,
                self._room,
                late_writes=self._late_writes,
            )

        if self._address.path:
            _, connection = await loop.create_unix_connection(protocol, self._address.path)
        else:
            _, connection = await loop.create_connection(
                protocol, self._address.host, self._address.port
            )
        return connection

    def _make_room(self) -> None:
        """Keep within the total: the connection that has been unused for longest goes."""
        if len(self._open) + self._opening < self._most:
            return
        unused = [connection for kept in self._idle.values() for connection in kept]
        if unused:
            self._drop(min(unused, key=lambda connection: connection.idle_since))
        elif self._witness is not None:
            self._drop(self._witness)

    # what connections tell

    def finished(self, connection: UpstreamConnection, status: int, *, reusable: bool) -> None:
        """An answer is complete. Its slot is free, except where an error is still to be examined."""
        if connection.reserved:
            if not reusable or status >= _FIRST_ERROR_STATUS:
                connection.close()
            return
        lease, connection.lease = connection.lease, None
        if status >= _FIRST_ERROR_STATUS:
            self._drop(connection)
            return
        if not reusable or connection.generation != self.generation:
            self._drop(connection)
        elif self.is_shared and (kept := self._idle.get(_ANYBODY)) is not None:
            kept.append(connection)  # as `keep` does; nearly every answer ends here
        elif self._may_share and not self.is_shared and self.on_kept(connection, lease):
            return
        else:
            self.keep(connection)
        if lease is not None:
            lease.release()

    def keep(self, connection: UpstreamConnection) -> None:
        """Put it where `take` finds it."""
        connection.reserved = False
        key = _ANYBODY if self.is_shared else connection.credential
        kept = self._idle.get(key)
        if kept is None:
            self._idle[key] = [connection]
        else:
            kept.append(connection)

    def lost(self, connection: UpstreamConnection, *, by_us: bool) -> None:
        """A connection has ended; one that slurmrestd ended unasked means that it may be another now."""
        self._forget(connection)
        if not by_us or not self._open:
            self.lapse()

    # who may use what

    async def open_witness(self, credential: Credential) -> UpstreamConnection:
        """A connection that `take` never gives away; it is the first to go when room is needed."""
        connection = await self.open(credential)
        connection.reserved = True
        self._witness = connection
        return connection

    def dismiss_witness(self) -> None:
        """There is nothing to bear witness to."""
        if self._witness is not None:
            self._drop(self._witness)

    def share(self) -> None:
        """slurmrestd was seen to check each request: let connections serve anybody.

        The witness stays open, unused, so that the proof holds as long as its slurmrestd lives.
        """
        kept = [connection for idle in self._idle.values() for connection in idle]
        self._idle = {_ANYBODY: sorted(kept, key=lambda connection: connection.idle_since)}
        self.is_shared = True

    def lapse(self) -> None:
        """Nothing is known any more: no connection that is open now will be used again."""
        self.generation += 1
        self.is_shared = False
        for kept in list(self._idle.values()):
            for connection in list(kept):
                self._drop(connection)
        self.dismiss_witness()

    # the end of connections

    def _drop(self, connection: UpstreamConnection) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        if self._witness is connection:
            self._witness = None
        for key in (_ANYBODY, connection.credential):
            kept = self._idle.get(key)
            if kept and connection in kept:
                kept.remove(connection)
            if not kept and kept is not None:
                del self._idle[key]

    def _tick(self) -> None:
        """One timer for all connections, as long as there are any."""
        if not self._open:
            self._ticking = None
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in list(self._open):
            connection.check(now, self._idle_seconds)
        for kept in list(self._idle.values()):
            for connection in [each for each in kept if now - each.idle_since > self._idle_seconds]:
                self._drop(connection)
        self._ticking = loop.call_later(_TICK_SECONDS, self._tick)

    def close(self) -> None:
        """Close everything; a request under way fails."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None
        for connection in list(self._open):
            connection.abort()
        self._open.clear()
        self._idle.clear()

    @property
    def has_room(self) -> bool:
        """Whether another connection may be opened, at most in the place of an unused one."""
        return len(self._open) + self._opening < self._most or self.unused > 0

    @property
    def opened(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    @property
    def unused(self) -> int:
        """Of these, the ones that wait for a request."""
        return sum(map(len, self._idle.values()))
