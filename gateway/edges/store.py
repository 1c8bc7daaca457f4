"""(question, what it is for) -> the answer of a Valkey or Redis server, or StoreAway, at once while it is away.

Nothing is asked twice: what may have been done is not done again. After a failure the server is left
alone for a while; then one caller tries it, and the others go on without until that has succeeded.
"""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError, ResponseError

from gateway.edges.secret_file import read_regular_file

T = TypeVar("T")

_MOST_PASSWORD_BYTES: Final = 4096
_OTHERS: Final = 0o077
_PREFIX: Final = "slurm-gateway"
_NO: Final = "NO "

_log = logging.getLogger(__name__)


class StoreAway(Exception):
    """The store gave no answer. The text says why, for the audit."""


class StoreRefuses(Exception):
    """One of our own scripts says no: its error began with NO, and this is the rest of it."""


class PasswordFile(CredentialProvider):
    """Read for each new connection, so that a changed password needs no restart."""

    def __init__(self, user: str, path: Path) -> None:
        self._user = user
        self._path = path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Raises OSError, which says nothing of what is in the file."""
        try:
            opened = read_regular_file(self._path, _MOST_PASSWORD_BYTES)
        except ValueError as error:
            raise OSError(22, f"{self._path} {error}") from None
        if opened.status.st_mode & _OTHERS:
            raise OSError(13, f"{self._path} is open to others: chmod 0600")
        password = opened.content.decode("utf-8", "replace").strip("\r\n")
        return (self._user, password) if self._user else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """The same: it is a small file, read once for a connection."""
        return self.get_credentials()


class StoreTls:
    """Certificates for a connection; the server's name is always checked."""

    def __init__(self, ca: Path | None, certificate: Path | None, key: Path | None) -> None:
        self.options: Mapping[str, Any] = {
            "ssl_ca_certs": str(ca) if ca else None,
            "ssl_certfile": str(certificate) if certificate else None,
            "ssl_keyfile": str(key or certificate) if certificate else None,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        }


def connect_to(
    address: str,
    *,
    credentials: CredentialProvider | None = None,
    tls: StoreTls | None = None,
    connections: int,
) -> "Redis":
    """A client that opens nothing yet. `address` is unix:/path, tcp:HOST:PORT or tls:HOST:PORT."""
    kind, _, rest = address.partition(":")
    options: dict[str, Any] = {
        "credential_provider": credentials,
        "max_connections": connections,
        "timeout": None,  # `Store.ask` has the one deadline
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }
    if kind == "unix":
        pool = BlockingConnectionPool(
            connection_class=UnixDomainSocketConnection, path=rest, **options
        )
        return Redis(connection_pool=pool)
    host, _, port = rest.rpartition(":")
    options |= {"host": host.strip("[]"), "port": int(port)}
    if tls is None:
        return Redis(connection_pool=BlockingConnectionPool(connection_class=Connection, **options))
    pool = BlockingConnectionPool(connection_class=SSLConnection, **options, **tls.options)
    return Redis(connection_pool=pool)


class Store:
    """One for a process. `tell` hears when it goes away (why) and when it is back (the empty text)."""

    def __init__(
        self,
        client: "Redis",
        cluster: str,
        *,
        timeout_seconds: float,
        retry_seconds: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.client = client
        self.prefix = f"{_PREFIX}:{cluster}"
        self.problem = ""
        self.missed: dict[str, int] = {}
        """Questions without an answer, by what they were for."""
        self.tell: Callable[[str], None] = lambda _: None
        self._timeout = timeout_seconds
        self._retry = retry_seconds
        self._monotonic = monotonic
        self._try_at = 0.0

    async def ask(self, use: str, question: Callable[[], Awaitable[T]]) -> T:
        """The answer. Raises StoreAway."""
        if self.problem:
            now = self._monotonic()
            if now < self._try_at:
                self.miss(use)
                raise StoreAway(self.problem)
            self._try_at = now + self._retry  # this one tries, the others do not
        try:
            async with _heeding_cancellation(), asyncio.timeout(self._timeout):
                answer = await question()
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            self.miss(use)
            await self._fail(error)
            raise StoreAway(self.problem) from None
        if self.problem:
            self._heal()
        return answer

    async def run(
        self, use: str, script: AsyncScript, keys: Sequence[str], values: Sequence[Any]
    ) -> Any:
        """What a script returns. Raises StoreAway, StoreRefuses."""
        return await self.ask(use, lambda: _run(script, keys, values))

    def miss(self, use: str, count: int = 1) -> None:
        """Count questions without an answer."""
        self.missed[use] = self.missed.get(use, 0) + count

    async def _fail(self, error: Exception) -> None:
        was_here = not self.problem
        text = str(error) or f"no answer in {self._timeout:g} s"
        self.problem = f"{type(error).__name__}: {text}"[:300]
        self._try_at = self._monotonic() + self._retry
        if was_here:
            _log.warning("the store is away: %s", self.problem)
            self.tell(self.problem)
            # what is kept was opened before: each would fail once more, one caller at a time
            with suppress(RedisError, OSError):
                await self.client.connection_pool.disconnect(inuse_connections=False)

    def _heal(self) -> None:
        self.problem = ""
        _log.info("the store is back")
        self.tell("")

    async def keep_watch(self) -> None:
        """For ever: find out that it is back, or away, also while nobody asks anything."""
        while True:
            with suppress(StoreAway):  # told already
                await self.ask("watch", self.client.ping)
            await asyncio.sleep(self._retry)

    async def close(self) -> None:
        """For good."""
        await self.client.aclose()
        await self.client.connection_pool.disconnect()


class _heeding_cancellation:  # noqa: N801 (read as a statement)
    """The library loses some cancellations (redis 8.1 on Python 3.11.2: a third of them, at its own time limits).

    A task that was cancelled meanwhile is cancelled at the end at the latest, or it would never stop.
    """

    __slots__ = ("_before", "_task")

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._before = self._task.cancelling() if self._task else 0

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None and self._task.cancelling() > self._before:
            raise asyncio.CancelledError


async def _run(script: AsyncScript, keys: Sequence[str], values: Sequence[Any]) -> Any:
    try:
        return await script(keys=list(keys), args=list(values))
    except ResponseError as error:
        if str(error).startswith(_NO):
            raise StoreRefuses(str(error).removeprefix(_NO)) from error
        raise
