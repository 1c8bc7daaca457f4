"""A script -> a server on a raw socket that plays slurmrestd byte by byte, and remembers what it was sent."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_USER = re.compile(rb"\r\nX-SLURM-USER-NAME: ([^\r]*)\r\n")
_TOKEN = re.compile(rb"\r\nX-SLURM-USER-TOKEN: ([^\r]*)\r\n")


class Seen(NamedTuple):
    """One request as it arrived. `connection` counts from 1."""

    connection: int
    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def path(self) -> str:
        return self.line.split(" ")[1]

    @property
    def user(self) -> str:
        found = _USER.search(self.head)
        return found[1].decode() if found else ""

    @property
    def token(self) -> str:
        found = _TOKEN.search(self.head)
        return found[1].decode() if found else ""


class Wire:
    """One connection, from the server's side."""

    def __init__(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        seen: list[Seen],
    ) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self._seen = seen

    async def request(self) -> Seen | None:
        """The next whole request, None when the other side has closed."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await self.reader.readexactly(int(length[1])) if length else b""
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        seen = Seen(self.number, head, body)
        self._seen.append(seen)
        return seen

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def send_by_byte(self, data: bytes) -> None:
        """Each byte in a packet of its own, as far as the kernel lets them apart."""
        for index in range(len(data)):
            await self.send(data[index : index + 1])
            await asyncio.sleep(0)

    async def ended(self) -> None:
        """Wait until the other side has closed."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            return

    def reset(self) -> None:
        """End without a word."""
        self.writer.transport.abort()


Script = Callable[[Wire], Awaitable[None]]


def answer(
    body: bytes = b"{}", status: str = "200 OK", extra: bytes = b"", length: int | None = None
) -> bytes:
    """A well-formed answer, as slurmrestd writes them."""
    size = len(body) if length is None else length
    return (
        f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nContent-Type: application/json\r\n".encode()
        + extra
        + b"\r\n"
        + body
    )


def answering(reply: Callable[[Seen], bytes]) -> Script:
    """Keep the connection and answer each request; errors close it, as slurmrestd does."""

    async def play(wire: Wire) -> None:
        while (seen := await wire.request()) is not None:
            data = reply(seen)
            await wire.send(data)
            if int(data[9:12]) >= 400:
                return

    return play


class ScriptedUpstream:
    """Plays `script` on each connection. `seen` holds all requests in order, `opened` the count."""

    def __init__(self, script: Script, path: str = "") -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.opened = 0
        self._path = path
        self._server: asyncio.Server | None = None
        self._wires: set[Wire] = set()
        self.port = 0

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        wire = Wire(self.opened, reader, writer, self.seen)
        self._wires.add(wire)
        try:
            await self.script(wire)
        except ConnectionError:
            pass
        finally:
            self._wires.discard(wire)
            writer.close()

    async def start(self) -> None:
        if self._path:
            self._server = await asyncio.start_unix_server(self._play, self._path)
            return
        self._server = await asyncio.start_server(self._play, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the listener and reset every connection, as a killed slurmrestd does."""
        if self._server is not None:
            self._server.close()
        for wire in list(self._wires):
            wire.reset()
        if self._server is not None:
            await self._server.wait_closed()
        await asyncio.sleep(0.01)

    @property
    def url(self) -> str:
        return f"unix:{self._path}" if self._path else f"http://127.0.0.1:{self.port}"

    @property
    def live(self) -> int:
        """Connections that are open now."""
        return len(self._wires)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
