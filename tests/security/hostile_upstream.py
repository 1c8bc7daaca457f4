"""tests/security/corpus/hostile_answers.toml -> a slurmrestd that sends them, marked with who asked for what."""

import re
import socket
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

ANSWERS: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "corpus/hostile_answers.toml").read_text("utf-8")
)["answers"]
LARGE_BYTES = 300_000
LATER_SECONDS = 0.004

_NAME = re.compile(rb"\r\nX-SLURM-USER-NAME: ([^\r]*)\r\n")
_TOKEN = re.compile(rb"\r\nX-SLURM-USER-TOKEN: ([^\r]*)\r\n")
_JOB = re.compile(rb"^GET /slurm/v0\.0\.[0-9]+/job/([0-9]+) ")
_REFUSED = b"HTTP/1.1 511 X\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n{}"
_PROBED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


def own(user: str, job: int, size: int = 0) -> bytes:
    """What the answer to one request is made of, forty times or so many bytes."""
    mark = f"<{user} {job}>".encode()
    return (mark * (size // len(mark) + 1))[:size] if size else mark * 40


class HostileUpstream:
    """The last job numbers decide: job n gets the n-th answer of the corpus, counted round. GET diag is a probe."""

    def __init__(self) -> None:
        self.asked = 0
        self.shared = 0
        """How many requests came on a connection whose last one was another user's."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        unread, last = b"", ""
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # or what is late waits for an ACK
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                unread += data
                while b"\r\n\r\n" in unread:
                    head, _, unread = unread.partition(b"\r\n\r\n")
                    user = found(_NAME, head + b"\r\n").decode()
                    self.shared += bool(last) and last != user
                    last = user
                    if not self._answer(connection, head + b"\r\n", user):
                        return

    def _answer(self, connection: socket.socket, head: bytes, user: str) -> bool:
        """Whether the connection goes on."""
        if found(_TOKEN, head).count(b".") != 2:
            connection.sendall(_REFUSED)
            return False
        if _JOB.match(head) is None:
            connection.sendall(_PROBED)
            return True
        self.asked += 1
        job = int(found(_JOB, head))
        case = ANSWERS[job % len(ANSWERS)]
        connection.sendall(filled(case["sent"], user, job))
        if case["then"] == "late":
            time.sleep(LATER_SECONDS)
            connection.sendall(filled(case["later"], user, job))
        return bool(case["then"] != "close")


def found(pattern: re.Pattern[bytes], head: bytes) -> bytes:
    match = pattern.search(head)
    assert match is not None, head
    return match[1]


@lru_cache(64)
def filled(text: str, user: str, job: int) -> bytes:
    """A row's text for one request."""
    mark = own(user, job).decode()
    size = len(mark)
    words = {"own": mark, "size": size, "less": size - 10, "more": size + 10}
    if "{large" in text:
        large = own(user, job, LARGE_BYTES).decode()
        words |= {"large": large, "large_size": len(large)}
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", str(word))
    return text.encode("latin-1")


@contextmanager
def hostile_upstream() -> Iterator[HostileUpstream]:
    """A running one."""
    upstream = HostileUpstream()
    try:
        yield upstream
    finally:
        upstream.close()
