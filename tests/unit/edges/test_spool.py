"""A body is the bytes that came, wherever they lie, and leaves nothing behind."""

import hashlib
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.edges.spool import Spool, SpooledBody, unlinked_file


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def spooled(spool: Spool, pieces: list[bytes]) -> SpooledBody:
    spooling = spool.begin()
    for piece in pieces:
        await spooling.append(piece)
    body = await spooling.finish()
    spooling.discard()
    return body


@pytest.mark.parametrize("size", [0, 1, 10, 11, 1000, 2_500_000])
async def test_a_body_is_what_came(size: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    pieces = [content[at : at + 65536] for at in range(0, size, 65536)]
    body = await spooled(Spool(10, tmp_path), pieces)
    assert body.length == size
    assert body.sha256 == hashlib.sha256(content).hexdigest()
    for _ in range(2):
        assert b"".join(iter(lambda: body.read(100_000), b"")) == content
        body.rewind()
    body.close()
    body.close()


async def test_up_to_the_size_a_body_stays_in_memory(tmp_path: Path) -> None:
    in_memory = await spooled(Spool(10, tmp_path / "missing"), [b"12345", b"67890"])
    assert in_memory.read(99) == b"1234567890"
    with pytest.raises(FileNotFoundError):
        await spooled(Spool(10, tmp_path / "missing"), [b"12345", b"678901"])


def test_the_file_has_no_name_and_is_private(tmp_path: Path) -> None:
    with unlinked_file(tmp_path) as file:
        file.write(b"canary")
        status = os.fstat(file.fileno())
        assert (stat.S_IMODE(status.st_mode), status.st_nlink) == (0o600, 0)
        assert list(tmp_path.iterdir()) == []


async def test_what_is_discarded_is_closed(tmp_path: Path) -> None:
    spooling = Spool(1, tmp_path).begin()
    await spooling.append(b"12345")
    before = open_files()
    spooling.discard()
    assert open_files() == before - 1


@settings(max_examples=30)
@given(pieces=st.lists(st.binary(max_size=30), max_size=20))
async def test_no_way_of_cutting_changes_a_body(
    pieces: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    body = await spooled(Spool(40, tmp_path_factory.getbasetemp()), pieces)
    content = b"".join(pieces)
    assert (body.length, body.read(10_000)) == (len(content), content)
    assert body.sha256 == hashlib.sha256(content).hexdigest()
    body.close()
