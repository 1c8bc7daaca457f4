"""Parts of a list whose client does not read -> they hold its request and little else, and are not called complete."""

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from gateway.web.listening import bind
from gateway.web.server import Listener
from tests.configurations import ends_in, token_for
from tests.running import gateway_of, running
from tests.scripted_upstream import ScriptedUpstream, answer, answering

_JOB = b'{"job_id":%d,"user_name":"alice","name":"' + b"x" * 8000 + b'"}'
LIST = answer(b'{"jobs":[' + b",".join(_JOB % number for number in range(1, 1001)) + b"]}")
OWN = {"authorize": {"roles": {"user": {"allow": ["READ", "READ-HEAVY"], "own_jobs_only": True}}}}
FEW_BYTES = 1_000_000


async def _deaf_client(address: str, target: str) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop, (host, _, port) = asyncio.get_running_loop(), address.rpartition(":")
    await loop.sock_connect(client, (host, int(port)))
    head = f"GET {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token_for('alice')}\r\n\r\n"
    await loop.sock_sendall(client, head.encode())
    return client


def _waiting_bytes(listener: Listener) -> int:
    transports: list[Any] = [one.transport for one in listener.server_state.connections]
    return sum(one.get_write_buffer_size() for one in transports)


async def _until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("query", "changes"), [("?gateway.limit=10000", {}), ("", OWN)], ids=["selected", "own"]
)
async def test_a_filtered_list_goes_at_its_readers_pace(
    tmp_path: Path, query: str, changes: dict[str, Any]
) -> None:
    upstream = ScriptedUpstream(answering(lambda _: LIST))
    async with upstream:
        config = gateway_of(tmp_path, {"forward": {"upstream": upstream.url}, **changes})
        async with running(config) as application:
            listener = Listener(
                "test", bind("127.0.0.1:0", 0o600), application, protocol=application.protocol()
            )
            await listener.begin()
            client = await _deaf_client(listener.address, f"/slurm/v0.0.42/jobs{query}")
            await _until(lambda: _waiting_bytes(listener))
            assert _waiting_bytes(listener) < FEW_BYTES
            assert application.current.running == 1
            client.close()
            await _until(lambda: not application.current.running)
            await listener.stop(0.1)
    (end,) = ends_in(tmp_path / "audit.jsonl")
    assert (end["status"], end["complete"]) == (200, False)
