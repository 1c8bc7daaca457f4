"""An HTTP or HTTPS server on loopback that answers as a test tells it, for whatever fetches keys."""

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.tokens import public_jwk


@dataclass
class Answer:
    """One answer. `length` of None sends no Content-Length; `pause_seconds` lies before the body."""

    body: bytes = b""
    status: str = "200 OK"
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_seconds: float = 0.0

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status}", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


class KeyServer:
    """Paths and their answers; unknown paths are 404. `paths` are those asked for, in order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: dict[str, Answer] = {}
        self.paths: list[str] = []
        self.heads: list[str] = []
        self.bodies: list[str] = []

    def publish(self, *jwks: Mapping[str, object], path: str = "/jwks") -> None:
        """Answer with a JWK Set."""
        self.answers[path] = Answer(json.dumps({"keys": jwks}).encode())

    def describe(self, path: str = "/.well-known/openid-configuration", **members: object) -> None:
        """Answer with provider metadata that points at /jwks."""
        metadata = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **members}
        self.answers[path] = Answer(json.dumps(metadata).encode())

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request and close."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ")[1]
            self.paths.append(path)
            self.heads.append(head)
            length = re.search(r"(?i)content-length: (\d+)", head)
            self.bodies.append((await reader.readexactly(int(length[1] if length else 0))).decode())
            answer = self.answers.get(path) or Answer(status="404 Not Found")
            writer.write(answer.head())
            await writer.drain()
            await asyncio.sleep(answer.pause_seconds)
            writer.write(answer.body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[KeyServer]:
    """A server that publishes one key, "k1", by discovery of both kinds."""
    server = KeyServer("")
    listener = await asyncio.start_server(server.answer, "127.0.0.1", port, ssl=tls)
    bound = listener.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://localhost:{bound}"
    server.publish(public_jwk("oidc"))
    server.describe()
    server.describe("/.well-known/oauth-authorization-server")
    try:
        yield server
    finally:
        listener.close()
        await listener.wait_closed()
