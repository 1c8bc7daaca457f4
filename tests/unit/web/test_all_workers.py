"""What several workers tell, told as one."""

import asyncio
from pathlib import Path

import pytest

from gateway.web.all_workers import _ask, summarize_all

WELL = {"ready": True, "parts": {"keys": {"ok": True, "detail": {"age": 3}}}}
ILL = {"ready": False, "parts": {"keys": {"ok": False, "detail": {"age": 9}}}}


@pytest.mark.parametrize(
    ("told", "ready", "keys_ok", "silent"),
    [
        ({1: WELL, 2: WELL}, True, True, []),
        ({1: WELL, 2: ILL}, False, False, []),
        ({1: WELL, 2: {}}, False, True, [2]),
    ],
)
def test_the_gateway_is_ready_if_every_worker_is(
    told: dict[int, dict[str, object]], ready: bool, keys_ok: bool, silent: list[int]
) -> None:
    is_ready, parts = summarize_all(told)
    assert is_ready is ready
    keys = parts["keys"]
    assert isinstance(keys, dict)
    assert keys["ok"] is keys_ok
    assert keys["detail"]["1"] == {"age": 3}
    assert parts["workers"] == {"ok": not silent, "detail": {"silent": silent}}


def test_without_any_worker_it_is_not() -> None:
    assert not summarize_all({})[0]


@pytest.mark.parametrize(
    ("told", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 503 X\r\ncontent-length: 2\r\nA: b\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Len", b""),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", b""),
        (b"", b""),
    ],
)
async def test_a_worker_that_dies_in_the_middle_of_its_answer_has_not_answered(
    tmp_path: Path, told: bytes, body: bytes
) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(told)
        writer.close()

    async with await asyncio.start_unix_server(play, tmp_path / "worker.sock"):
        assert await _ask(tmp_path / "worker.sock", "/readyz") == body
