"""(address, password file, certificates) -> a client of a Valkey or Redis server that opens nothing yet.

The one module that imports the library, and only where a store is configured: it takes 6 MB.
"""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import RedisError

from gateway.edges.secret_file import read_regular_file

ERRORS: Final[tuple[type[Exception], ...]] = (RedisError, OSError)
"""What a question may raise; TimeoutError is an OSError."""
_MOST_PASSWORD_BYTES: Final = 4096
_OTHERS: Final = 0o077


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
