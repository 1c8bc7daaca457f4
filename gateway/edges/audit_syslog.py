"""Lines of the audit -> messages of RFC 5424 for a syslog server: UNIX socket, TCP (RFC 6587) or TLS (RFC 5425)."""

import errno
import os
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_SEVERITY = 6  # informational
_TIMEOUT_SECONDS = 2.0
_EVENT = re.compile(rb'"event":"([a-z-]{1,32})","time":"([0-9TZ:.-]{1,32})"')
_HEAD = b'"event":"head",'
_BEGIN_BYTES = 160
"""Number, chain, event and time stand in the first bytes of a line."""


class Server(NamedTuple):
    """Where it listens: kind "unix", "tcp" or "tls"; a path, or host and port."""

    kind: str
    host: str
    port: int = 0

    @classmethod
    def read(cls, address: str) -> "Server":
        """unix:/dev/log, tcp:HOST:PORT or tls:HOST:PORT, as the configuration has checked it."""
        kind, _, rest = address.partition(":")
        if kind == "unix":
            return cls(kind, rest)
        host, _, port = rest.rpartition(":")
        return cls(kind, host.strip("[]"), int(port))


class SyslogWriter:
    """Connects when there is something to send. Without acknowledgements in syslog, arrived means sent:
    what a server that dies has not read is lost to it, and still in the file.
    """

    def __init__(
        self,
        server: Server,
        *,
        facility: int,
        only_heads: bool,
        tls: ssl.SSLContext | None = None,
        timeout_seconds: float = _TIMEOUT_SECONDS,
    ) -> None:
        self._server = server
        self._only_heads = only_heads
        self._tls = tls
        self._timeout_seconds = timeout_seconds
        self._priority = b"<%d>1 " % (facility * 8 + _SEVERITY)
        host = socket.gethostname().encode("ascii", "replace") or b"-"
        self._sender = b" %b slurm-gateway %d " % (host, os.getpid())
        self._socket: socket.socket | None = None
        self._send: Callable[[bytes], object] = lambda _: None

    def write(self, lines: deque[bytes]) -> None:
        """Raises OSError with the lines that are left; the first of them may have been sent in part."""
        while lines:
            if not self._only_heads or _HEAD in lines[0][:_BEGIN_BYTES]:
                self._write_one(self.message(lines[0]))
            lines.popleft()

    def _write_one(self, message: bytes) -> None:
        if self._socket is None or self._is_gone(self._socket):
            self.close()
            self.connect()
        try:
            self._send(message)
        except OSError:
            self.close()
            raise

    def message(self, line: bytes) -> bytes:
        """RFC 5424 section 6: the event is the MSGID, the line is the MSG, unchanged, so that it verifies."""
        found = _EVENT.search(line[:_BEGIN_BYTES])
        event, moment = found.groups() if found else (b"-", b"-")
        return b"%b%b%b%b - %b" % (
            self._priority,
            moment,
            self._sender,
            event,
            line.rstrip(b"\n"),
        )

    def connect(self) -> None:
        """Raises OSError, for a certificate that does not fit too."""
        kind, host, port = self._server
        if kind == "unix":
            self._socket, self._send = _connect_unix(host, self._timeout_seconds)
            return
        connected = socket.create_connection((host, port), self._timeout_seconds)
        try:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            milliseconds = int(self._timeout_seconds * 1000)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
            if self._tls is not None:
                connected = self._tls.wrap_socket(connected, server_hostname=host)
        except OSError:
            connected.close()
            raise
        self._socket = connected
        self._send = lambda message: connected.sendall(counted(message))

    def _is_gone(self, connected: socket.socket) -> bool:
        """Whether the server has closed the connection, which a write would notice only afterwards."""
        if connected.type == socket.SOCK_DGRAM:
            return False
        connected.settimeout(0)
        try:
            return connected.recv(1) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            connected.settimeout(self._timeout_seconds)

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None


def counted(message: bytes) -> bytes:
    """RFC 6587 section 3.4.1: the length goes before, so that nothing in a message can end it."""
    return b"%d %b" % (len(message), message)


def _connect_unix(
    path: str, timeout_seconds: float
) -> tuple[socket.socket, Callable[[bytes], object]]:
    """A datagram socket, as syslog daemons have it; a stream where it is one."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        connected = socket.socket(socket.AF_UNIX, kind)
        connected.settimeout(timeout_seconds)
        try:
            connected.connect(path)
        except OSError as error:
            connected.close()
            if kind == socket.SOCK_DGRAM and error.errno == errno.EPROTOTYPE:
                continue
            raise
        break
    if connected.type == socket.SOCK_DGRAM:
        return connected, connected.send
    return connected, lambda message: connected.sendall(counted(message))


def make_tls(
    ca_file: Path | None, certificate_file: Path | None, key_file: Path | None
) -> ssl.SSLContext:
    """The server's name and certificate are checked. Raises OSError."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate_file is not None:
        context.load_cert_chain(certificate_file, key_file)
    return context
