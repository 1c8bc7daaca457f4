"""A user of a gateway before a hostile slurmrestd -> what they get, held to be nobody else's, byte for byte."""

import random
import re
import socket
import struct
from contextlib import suppress
from typing import Any

from tests.configurations import token_for
from tests.security.hostile_upstream import ANSWERS, LARGE_BYTES, own
from tests.serving import Served

READ_SECONDS = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: ([0-9]+)\r\n", re.IGNORECASE)
_MARK = re.compile(rb"<([a-z]+) ([0-9]+)>")
_RESET = struct.pack("ii", 1, 0)


class Person:
    """One kept connection, which is opened anew where the gateway has closed it.

    `by_user`: an older answer of the same user's is no fault.
    """

    def __init__(self, name: str, gateway: Served, *, by_user: bool = False) -> None:
        self.name = name
        self._by_user = by_user
        self._port = gateway.port
        self._token = token_for(name, 3000)
        self._kept: socket.socket | None = None

    def _connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=READ_SECONDS)

    def _request(self, job: int) -> bytes:
        head = f"GET /slurm/v0.0.42/job/{job} HTTP/1.1\r\nHost: h\r\n"
        return f"{head}Authorization: Bearer {self._token}\r\n\r\n".encode()

    def ask(self, job: int) -> tuple[int, bytes, bytes]:
        """(status, head, body as far as it came), and nothing behind it."""
        if self._kept is None:
            self._kept = self._connect()
        self._kept.sendall(self._request(job))
        data, is_open = bytearray(), True
        while is_open and not is_whole(data):
            piece = self._kept.recv(262_144)
            data += piece
            is_open = bool(piece)
        head, _, body = bytes(data).partition(b"\r\n\r\n")
        if not is_open or b"connection: close" in head.lower():
            self.leave()
        return int(head[9:12]), head, body

    def leave(self) -> None:
        if self._kept is not None:
            self._kept.close()
        self._kept = None

    def asks(self, job: int) -> int:
        """Ask, and hold the answer to be this request's. The status."""
        case = ANSWERS[job % len(ANSWERS)]
        status, head, body = self.ask(job)
        self.assert_own(job, head + b"\r\n\r\n" + body)
        if status == 200 and not self._by_user:
            whole = own(self.name, job, LARGE_BYTES) if "{large}" in case["sent"] else b""
            wanted = whole or own(self.name, job)
            assert body[: len(wanted)] == wanted[: len(body)]
            assert len(body) == len(wanted) or not case.get("honest"), "an honest answer was cut"
        return status

    def assert_own(self, job: int, data: bytes) -> None:
        """No mark of another request is in it."""
        mine = self.name.encode()
        marks = set(_MARK.findall(data))
        others = {
            mark for mark in marks if mark[0] != mine or not (self._by_user or int(mark[1]) == job)
        }
        assert not others, f"{self.name} saw {others} in the answer for job {job}: {data[:600]!r}"

    def hangs_up(self, job: int, chance: random.Random) -> None:
        """Ask on a connection of its own and end it somewhere: before, in or behind the answer."""
        wanted = chance.choice((0, 1, chance.randrange(400), chance.randrange(LARGE_BYTES)))
        data = b""
        with self._connect() as connection, suppress(ConnectionError):
            connection.sendall(self._request(job))
            connection.settimeout(chance.random() * 0.02 + 0.001)
            with suppress(TimeoutError):
                while len(data) < wanted and (piece := connection.recv(wanted - len(data))):
                    data += piece
            if chance.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.assert_own(job, data)


def is_whole(data: Any) -> bool:
    """Whether an answer is complete."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    found = _LENGTH.search(data[: end + 2])
    is_bare = data[9:12] in (b"204", b"304")
    return is_bare or (found is not None and len(data) >= end + 4 + int(found[1]))
