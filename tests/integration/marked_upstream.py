"""A request -> an answer that is made of its user's name: a slurmrestd of any size, in threads of this process."""

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_NAME = re.compile(rb"\r\nX-SLURM-USER-NAME: ([^\r]*)\r\n")
_TOKEN = re.compile(rb"\r\nX-SLURM-USER-TOKEN: ([^\r]*)\r\n")
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")
_REFUSED = b"HTTP/1.1 511 X\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n{}"
_BLOCK_BYTES = 262_144


@dataclass(frozen=True)
class Upload:
    """A request with a body, as it arrived."""

    head: bytes
    length: int
    sha256: str


def marker(user: str) -> bytes:
    """What a user's answers are made of."""
    return f"{user}|".encode()


def is_made_of(user: str, body: bytes) -> bool:
    """Whether nothing but the user's own name is in an answer."""
    own = marker(user)
    return body == (own * (len(body) // len(own) + 1))[: len(body)]


class MarkedUpstream:
    """`sizes` are the bytes of an answer by the last word of the path, 300 where it is not named.

    `checks_once`: as on 20.11, the first request of a connection decides whose connection it is,
    and each answer is for that user, whatever the request says.
    """

    def __init__(self, sizes: dict[str, int], *, checks_once: bool = False) -> None:
        self.sizes = sizes
        self.uploads: list[Upload] = []
        self.open_connections = 0
        self._checks_once = checks_once
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._count(1)
        try:
            with connection, suppress(OSError):
                self._answer_all(connection)
        finally:
            self._count(-1)

    def _count(self, by: int) -> None:
        with self._lock:
            self.open_connections += by

    def _answer_all(self, connection: socket.socket) -> None:
        owner = b""
        while head := _read_head(connection):
            name, token = _NAME.search(head), _TOKEN.search(head)
            assert name is not None
            assert token is not None
            if token[1].count(b".") != 2 and not (owner and self._checks_once):
                connection.sendall(_REFUSED)
                return
            owner = owner if owner and self._checks_once else name[1]
            self._take_body(connection, head)
            word = head.split(b" ", 2)[1].rpartition(b"/")[2].decode()
            send_marked(connection, owner.decode(), self.sizes.get(word, 300))

    def _take_body(self, connection: socket.socket, head: bytes) -> None:
        declared = _LENGTH.search(head)
        left = length = int(declared[1]) if declared else 0
        digest = hashlib.sha256()
        while left:
            piece = connection.recv(min(left, _BLOCK_BYTES))
            if not piece:
                return
            digest.update(piece)
            left -= len(piece)
        if length:
            self.uploads.append(Upload(head, length, digest.hexdigest()))

    def close(self) -> None:
        """No new connections; the ones that are open end with the gateway."""
        self._listener.close()


def _read_head(connection: socket.socket) -> bytes:
    """To the empty line and not one byte further, so that a body stays in the socket."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        seen = connection.recv(65536, socket.MSG_PEEK)
        if not seen:
            return b""
        end = (head + seen).find(b"\r\n\r\n")
        head += connection.recv(len(seen) if end < 0 else end + 4 - len(head))
    return head


def send_marked(connection: socket.socket, user: str, size: int) -> None:
    """An answer of `size` bytes that is made of the user's name, without ever holding it."""
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nContent-Type: application/json\r\n\r\n"
    own = marker(user)
    block = own * (_BLOCK_BYTES // len(own))
    if size < len(block):
        connection.sendall(head.encode() + block[:size])
        return
    connection.sendall(head.encode())
    for _ in range(size // len(block)):
        connection.sendall(block)
    connection.sendall(block[: size % len(block)])


@contextmanager
def marked_upstream(
    sizes: dict[str, int], *, checks_once: bool = False
) -> Iterator[MarkedUpstream]:
    """A running one."""
    upstream = MarkedUpstream(sizes, checks_once=checks_once)
    try:
        yield upstream
    finally:
        upstream.close()
