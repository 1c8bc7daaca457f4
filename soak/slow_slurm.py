"""A port, milliseconds, "serial" or "parallel" -> a slurmrestd 22.05 that takes so long for each submission.

Serial is as slurmctld has it, which takes one submission after the other under a lock of its own.
"""

import asyncio
import itertools
import json
import sys
from functools import partial
from typing import cast

import uvloop

_LIMIT_BYTES = 1 << 20


class Work:
    """When the next submission is done, in seconds of the loop's clock."""

    def __init__(self, seconds: float, *, is_serial: bool) -> None:
        self.numbers = itertools.count(1)
        self._seconds, self._is_serial = seconds, is_serial
        self._done = 0.0

    def begin(self, now: float) -> float:
        """One more."""
        began = max(now, self._done) if self._is_serial else now
        self._done = began + self._seconds
        return self._done


class Answering(asyncio.Protocol):
    """One kept connection; a request at a time, as the gateway sends them."""

    _transport: asyncio.Transport

    def __init__(self, work: Work) -> None:
        self._work = work
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
        loop = asyncio.get_running_loop()
        loop.call_at(self._work.begin(loop.time()), self._answer)

    def _answer(self) -> None:
        whole = json.dumps(
            {
                "meta": {"Slurm": {"version": {"major": 22, "micro": 8, "minor": 5}}},
                "errors": [],
                "job_id": next(self._work.numbers),
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


async def serve(port: int, work: Work) -> None:
    """For ever, on loopback."""
    server = await asyncio.get_running_loop().create_server(
        partial(Answering, work), "127.0.0.1", port
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(
        serve(int(sys.argv[1]), Work(float(sys.argv[2]) / 1000, is_serial=sys.argv[3] == "serial"))
    )
