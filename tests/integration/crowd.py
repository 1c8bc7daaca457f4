"""A gateway -> what a crowd of clients needs of it: raw connections, memory, gauges, many at once."""

import hashlib
import http.client
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Protocol

from gateway.slurm_api.fields import PRIVILEGED
from lab.toml_text import Settings, merged
from tests.serving import Served, trusting, write_pair

READ = "/slurm/v0.0.38/diag"
SUBMIT = "/slurm/v0.0.38/job/submit"
NEVER = "1000000/second"
_MIB = 1 << 20
CLASSES = ("read", "read-heavy", "submit", "job-write")
UNLIMITED: Settings = {
    "limit": {"rates": dict.fromkeys(CLASSES, NEVER), "failed_authentications": NEVER},
    "authorize": {
        "roles": {
            "user": {
                "allow": ["READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE"],
                # without a rule on fields bodies are forwarded unread, whatever is in them
                "permit_fields": list(PRIVILEGED),
            }
        }
    },
}


class Running(Protocol):
    """A gateway's process."""

    @property
    def pid(self) -> int | None: ...


@contextmanager
def serving(folder: Path, upstream: str, changes: Settings | None = None) -> Iterator[Served]:
    """A gateway with TLS and without limits that get in the way."""
    base = merged(merged(UNLIMITED, write_pair(folder)), {"forward": {"upstream": upstream}})
    gateway = Served(folder, merged(base, changes or {}))
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.stop()


_tls = cache(trusting)
"""Made once: it reads all of the machine's authorities."""


def connect(gateway: Served, receive_bytes: int = 0) -> ssl.SSLSocket:
    """A TLS connection whose kernel keeps little of what is not read."""
    plain = socket.socket()
    if receive_bytes:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    plain.settimeout(60)
    plain.connect(("127.0.0.1", gateway.port))
    return _tls().wrap_socket(plain, server_hostname="localhost")


def session(gateway: Served) -> http.client.HTTPConnection:
    """A connection that is kept from request to request."""
    return gateway.connect(_tls())


def head(method: str, path: str, token: str, *fields: str) -> bytes:
    """The bytes of a request's head."""
    lines = [f"{method} {path} HTTP/1.1", "Host: h", f"Authorization: Bearer {token}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_on(
    connection: http.client.HTTPConnection, path: str, token: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """One GET on a kept connection."""
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def peak_bytes(gateway: Running) -> int:
    """The most memory that the process has had in use so far."""
    status = Path(f"/proc/{gateway.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def gauge(gateway: Served, name: str) -> float:
    """One number of /metrics."""
    text = gateway.operations("/metrics")[1].decode()
    found = re.search(rf"^slurm_gateway_{name} (\S+)$", text, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def eventually(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for what happens in another process; fails if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def all_is_given_back(gateway: Served) -> bool:
    """No client, no request in the queue, no connection to slurmrestd in use but the witness."""
    return (
        gauge(gateway, "client_connections") == 0
        and gauge(gateway, "queue_length") == 0
        and gauge(gateway, "pool_in_use") <= 1
    )


def record_of(gateway: Served, request_id: str) -> dict[str, object]:
    """The audit record of one request; there is exactly one."""

    def found() -> list[dict[str, object]]:
        return [one for one in gateway.records if one["request_id"] == request_id]

    eventually(found)
    (record,) = found()
    return record


def send_body(client: ssl.SSLSocket, size: int, *, chunked: bool) -> str:
    """A JSON text of so many bytes; its SHA-256."""
    digest, left, first = hashlib.sha256(), size, b"{"
    while left:
        piece = (first + b" " * _MIB)[: min(left, _MIB)]
        if left == len(piece):
            piece = piece[:-1] + b"}"
        first, left = b"", left - len(piece)
        digest.update(piece)
        client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
    if chunked:
        client.sendall(b"0\r\n\r\n")
    return digest.hexdigest()


def framing(size: int, *, chunked: bool) -> str:
    """The field that says so."""
    return "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
