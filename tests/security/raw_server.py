"""A real listener with the hardened protocol and a recording application, and a client of raw bytes."""

import asyncio
import select
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.denial import Denied
from gateway.stages.receive import Receive
from gateway.web.configured_protocol import ProtocolLimits, Refusal, hardened_protocol
from gateway.web.listening import bind
from gateway.web.problems import render
from gateway.web.server import Listener

READ_SECONDS = 60.0
SLOW_SECONDS = 0.05


class Admitted(NamedTuple):
    """A request that receive has let through, and its body."""

    name: str
    body: bytes


@dataclass
class RecordingApplication:
    """Receives, reads the body, notes it down, answers "{}"; or answers the refusal."""

    admitted: list[Admitted] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    receive: Receive = field(default_factory=Receive)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        status, headers, body = 200, [(b"content-length", b"2")], b"{}"
        try:
            await self._admit(scope, receive)
        except Denied as denied:
            self.denied.append(denied.reason.code)
            status, headers, body = render(denied, "from-the-application")
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _admit(self, scope: Any, receive: Any) -> None:
        target = scope["extensions"]["gateway.target"]
        assert target.partition(b"?")[0] == scope["raw_path"]
        peer = scope["client"][0]
        request = self.receive(scope["method"], target, scope["headers"], peer, "id")
        admitted = f"{request.method} {request.target.path}"
        if request.target.path == "/slow":
            await asyncio.sleep(SLOW_SECONDS)
        self.admitted.append(Admitted(admitted, b""))
        if request.length == 0:
            return
        body, is_more = b"", True
        while is_more:
            message = await receive()
            body += message.get("body", b"")
            is_more = message.get("more_body", False)
        self.admitted[-1] = Admitted(admitted, body)


@dataclass
class RawServer:
    """Where it listens, and what has happened since the last `forget`."""

    address: tuple[str, int]
    application: RecordingApplication
    refusals: list[Refusal] = field(default_factory=list)

    def forget(self) -> None:
        self.application.admitted.clear()
        self.application.denied.clear()
        self.refusals.clear()


@contextmanager
def raw_server(limits: ProtocolLimits) -> Generator[RawServer, None, None]:
    """A server in a thread of its own, so that clients may block."""
    bound = bind("127.0.0.1:0", 0o600)
    server = RawServer(bound.socket.getsockname(), RecordingApplication())
    protocol = hardened_protocol(limits, server.refusals.append, render)
    started, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        listener = Listener("test", bound, server.application, protocol=protocol)
        await listener.begin()
        started.set()
        await asyncio.get_running_loop().run_in_executor(None, stop.wait)
        await listener.stop(1.0)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(READ_SECONDS)
    try:
        yield server
    finally:
        stop.set()
        thread.join(READ_SECONDS)


class Answer(NamedTuple):
    """One response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """A blocking client that sends bytes as they are."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.create_connection(address, timeout=READ_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""

    def send(self, pieces: Sequence[bytes]) -> None:
        """Send until the server has had enough."""
        try:
            for piece in pieces:
                self._socket.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            return

    def answer(self, *, has_body: bool = True) -> Answer:
        """The next response, interim ones too. Raises EOFError at the end of the connection."""
        while b"\r\n\r\n" not in self._unread:
            self._read()
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (f.partition(": ") for f in fields)}
        assert len(headers) == len(fields), "a field is sent twice"
        length = int(headers.get("content-length", "0")) if has_body else 0
        while len(self._unread) < length:
            self._read()
        body, self._unread = self._unread[:length], self._unread[length:]
        return Answer(int(line.split(" ")[1]), headers, body)

    def wait_for_answer(self) -> None:
        """Until the first bytes come, or for a second: who says too early that nothing follows is taken for gone."""
        select.select([self._socket], [], [], 1.0)

    def hang_up(self) -> None:
        """Say that nothing more will be sent."""
        self._socket.shutdown(socket.SHUT_WR)

    def rest(self) -> bytes:
        """Everything until the server closes."""
        try:
            while True:
                self._read()
        except (EOFError, ConnectionResetError):
            return self._unread

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise EOFError
        self._unread += data
