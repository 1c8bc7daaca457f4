"""Bytes of a client -> the same to slurmrestd, with Slurm's headers for the token, and back: what Python costs.

Two callbacks on uvloop, as every gateway in Python has them, and nothing between: it reads no HTTP, verifies no token,
limits and records nothing. Each client connection has one of its own to slurmrestd, and heads come in one piece. It
shows what can be gained by a shorter way through a gateway, and what cannot.
"""

import asyncio
import os
import re
from typing import cast

import uvloop

BACKEND = os.environ["BACKEND"].removeprefix("http://")
PORT = int(os.environ["PORT"])
SLURM_HEADERS = (
    f"X-SLURM-USER-NAME: {os.environ['SLURM_USER']}\r\n"
    f"X-SLURM-USER-TOKEN: {os.environ['SLURM_TOKEN']}\r\n"
).encode()
AUTHORIZATION = re.compile(rb"authorization:[^\r]*\r\n", re.IGNORECASE)


class Downwards(asyncio.Protocol):
    """The connection to slurmrestd."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        """Pass an answer back."""
        self._client.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """End with it."""
        self._client.close()


class Upwards(asyncio.Protocol):
    """The connection of a client."""

    def __init__(self) -> None:
        self._backend: asyncio.Transport | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect to slurmrestd."""
        client = cast("asyncio.Transport", transport)
        self._connecting = asyncio.ensure_future(self._connect(client))

    async def _connect(self, client: asyncio.Transport) -> None:
        host, _, port = BACKEND.partition(":")
        loop = asyncio.get_running_loop()
        self._backend, _ = await loop.create_connection(lambda: Downwards(client), host, int(port))
        if self._early:
            self._backend.write(self._early)

    def data_received(self, data: bytes) -> None:
        """Pass a request on."""
        data = AUTHORIZATION.sub(SLURM_HEADERS, data, 1)
        if self._backend is None:
            self._early += data
        else:
            self._backend.write(data)

    def connection_lost(self, _: Exception | None) -> None:
        """End with it."""
        self._connecting.cancel()
        if self._backend is not None:
            self._backend.close()


async def serve() -> None:
    """Until it is killed."""
    server = await asyncio.get_running_loop().create_server(Upwards, "127.0.0.1", PORT)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
