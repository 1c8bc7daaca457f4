"""Parts of a list of 200 MB, longer than anything that is held: flat memory, with a cache and without one."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.configurations import token_for
from tests.integration.crowd import NEVER, peak_bytes, read_on, serving, session

MIB = 1 << 20
GROWTH_BYTES = 16 * MIB
ITEM_BYTES = 8000
BLOCK_ITEMS = 100
BLOCKS = 254
ITEMS = BLOCKS * BLOCK_ITEMS
LIST = "/slurm/v0.0.38/jobs"
BEGIN, END = b'{"meta":{},"jobs":[', b'],"errors":[]}'


def job(number: int) -> dict[str, Any]:
    """Of a user who has one in a hundred."""
    pairs = {f"field_{n}": {"set": True, "number": n} for n in range(100)}
    text = "x" * (ITEM_BYTES - len(orjson.dumps(pairs)) - 90)
    return {"job_id": number, "user_name": f"user{number}", "comment": text, **pairs}


BLOCK = b",".join(orjson.dumps(job(number)) for number in range(BLOCK_ITEMS))
LENGTH = len(BEGIN) + BLOCKS * len(BLOCK) + BLOCKS - 1 + len(END)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LENGTH


@contextmanager
def long_lists() -> Iterator[str]:
    """The URL of a slurmrestd that answers everything with such a list."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while re.search(rb"\r\n\r\n$", connection.recv(65536)):
                connection.sendall(HEAD + BEGIN)
                for number in range(BLOCKS):
                    connection.sendall(BLOCK if not number else b"," + BLOCK)
                connection.sendall(END)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


@pytest.mark.parametrize(
    ("is_kept", "query", "total", "block"),
    [
        (True, "user=user7", BLOCKS, [job(7)]),
        (False, "fields=job_id", ITEMS, [{"job_id": number} for number in range(BLOCK_ITEMS)]),
    ],
    ids=["a user's items, cache", "a field of all items, no cache"],
)
def test_parts_of_a_200_mb_list_are_found_in_flat_memory(
    tmp_path: Path, is_kept: bool, query: str, total: int, block: list[dict[str, Any]]
) -> None:
    """All items together are longer than what may be left of a list; one field of each is not."""
    changes = {"cache": {"enabled": is_kept}, "limit": {"rates": {"read-heavy": NEVER}}}
    assert LENGTH > 200_000_000
    with long_lists() as url, serving(tmp_path, url, changes) as gateway:
        connection = session(gateway)
        before = peak_bytes(gateway)
        path = f"{LIST}?gateway.{query}"
        status, headers, body = read_on(connection, path, token_for("alice"))
        connection.close()
        assert status == 200, body
        assert peak_bytes(gateway) - before < GROWTH_BYTES
    assert int(headers["Gateway-Total"]) == total
    assert orjson.loads(body)["jobs"] == block * BLOCKS
