"""A port, milliseconds -> a slurmrestd 22.05 that takes so long for each submission, however many there are."""

import asyncio
import itertools
import json
import sys
from functools import partial
from typing import cast

import uvloop

_LIMIT_BYTES = 1 << 20


class Answering(asyncio.Protocol):
    """One kept connection; a request at a time, as the gateway sends them."""

    _transport: asyncio.Transport

    def __init__(self, numbers: "itertools.count[int]", seconds: float) -> None:
        self._numbers, self._seconds = numbers, seconds
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio has it."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """A head and a body of stated length."""
        self._came += data
        head, mark, body = self._came.partition(b"\r\n\r\n")
        if not mark:
            return
        length = _length(head)
        if len(body) < length or length > _LIMIT_BYTES:
            return
        self._came = b""
        asyncio.get_running_loop().call_later(self._seconds, self._answer)

    def _answer(self) -> None:
        whole = json.dumps(
            {
                "meta": {"Slurm": {"version": {"major": 22, "micro": 8, "minor": 5}}},
                "errors": [],
                "job_id": next(self._numbers),
                "step_id": "BATCH",
                "job_submit_user_msg": "",
            }
        ).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(whole)}\r\nContent-Type: application/json"
        if not self._transport.is_closing():
            self._transport.write(f"{head}\r\n\r\n".encode() + whole)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(port: int, seconds: float) -> None:
    """For ever, on loopback."""
    numbers = itertools.count(1)
    server = await asyncio.get_running_loop().create_server(
        partial(Answering, numbers, seconds), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]) / 1000))
