"""One blocking HTTP/1.1 connection: a prepared request -> status and body length, nothing more.

Small on purpose: the time between the request's first byte and the answer's last one is what
the latency cell measures, and a client library would add more than a proxy does.
"""

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.scene import Endpoint

READ_BYTES = 1 << 20
TIMEOUT_SECONDS = 30.0


class BadAnswerError(Exception):
    """The peer closed early or sent a head without a length."""


@dataclass(frozen=True)
class Answer:
    """What came back: the status code and the body's bytes that were really read."""

    status: int
    body_bytes: int


@dataclass(frozen=True)
class Pace:
    """How fast a body is read or written; a small socket buffer, so that the proxy feels it."""

    bytes_per_second: float
    socket_buffer_bytes: int = 65_536


def get_request(target: str, endpoint: Endpoint) -> bytes:
    """Return the bytes of a GET with this endpoint's headers."""
    return _head("GET", target, endpoint)


def post_request(target: str, endpoint: Endpoint, body: bytes) -> bytes:
    """Return the bytes of a POST of JSON with this endpoint's headers."""
    length = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return _head("POST", target, endpoint, length) + body


def _head(
    method: str, target: str, endpoint: Endpoint, more: Mapping[str, str] | None = None
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{endpoint.port}"]
    headers = {**endpoint.headers, **(more or {}), "Accept": "application/json"}
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


class Connection:
    """A kept connection to one endpoint."""

    def __init__(
        self,
        endpoint: Endpoint,
        authority: Path | None = None,
        pace: Pace | None = None,
        write_pace: Pace | None = None,
    ) -> None:
        """Connect; with TLS, trust the one certificate in `authority`."""
        plain = socket.socket()
        if pace:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, pace.socket_buffer_bytes)
        if write_pace:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, write_pace.socket_buffer_bytes)
        plain.settimeout(TIMEOUT_SECONDS)
        plain.connect(("127.0.0.1", endpoint.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = _with_tls(plain, authority) if endpoint.tls else plain
        self._pace = pace
        self._write_pace = write_pace
        self._buffer = bytearray(READ_BYTES if pace is None else pace.socket_buffer_bytes)

    def __enter__(self) -> Self:
        """Return the connection itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the socket."""
        self._socket.close()

    def ask(self, request: bytes) -> Answer:
        """Send the request, read its whole answer; BadAnswerError or OSError if there is none."""
        self._send(request)
        head = b""
        while (end := head.find(b"\r\n\r\n")) < 0:
            head += self._receive()
        status, length = _parse_head(head[:end])
        read = len(head) - end - 4
        started = time.monotonic()
        while read < length:
            read += len(self._receive())
            if self._pace:
                _wait_for(self._pace, read, started)
        return Answer(status, read)

    def _send(self, request: bytes) -> None:
        if self._write_pace is None:
            self._socket.sendall(request)
            return
        started, step = time.monotonic(), self._write_pace.socket_buffer_bytes
        for sent in range(0, len(request), step):
            _wait_for(self._write_pace, sent, started)
            self._socket.sendall(memoryview(request)[sent : sent + step])

    def _receive(self) -> memoryview:
        count = self._socket.recv_into(self._buffer)
        if count == 0:
            message = "the connection was closed before the answer's end"
            raise BadAnswerError(message)
        return memoryview(self._buffer)[:count]


def _wait_for(pace: Pace, done_bytes: int, started: float) -> None:
    ahead = done_bytes / pace.bytes_per_second - (time.monotonic() - started)
    if ahead > 0:
        time.sleep(ahead)


def _with_tls(plain: socket.socket, authority: Path | None) -> socket.socket:
    context = ssl.create_default_context(cafile=authority)
    return context.wrap_socket(plain, server_hostname="localhost")


def _parse_head(head: bytes) -> tuple[int, int]:
    """Return status and Content-Length; every answer that is measured declares its length."""
    lines = head.split(b"\r\n")
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(lines[0].split()[1]), int(value)
    message = f"no Content-Length in {lines[0]!r}"
    raise BadAnswerError(message)
