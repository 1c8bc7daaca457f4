"""A body is the bytes that came, wherever they lie, and leaves nothing behind."""

import asyncio
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.edges.spool import Pair, Spool, SpooledBody, Spooling, Thread, unlinked_file

T = TypeVar("T")
PIECE = bytes(200_000)


def open_files(directory: Path) -> int:
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed in the meantime
            count += link.readlink().is_relative_to(directory)
    return count


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # other threads, which set no event
            await asyncio.sleep(0.001)


class Stuck:
    """The threads of a disk that does not answer until it is told to."""

    def __init__(self) -> None:
        self.threads = Pair(Thread(), Thread())
        self.answers = Event()
        self.threads.writer.submit(self.answers.wait)


@pytest.fixture
def disk() -> Iterator[Stuck]:
    stuck = Stuck()
    yield stuck
    stuck.answers.set()


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
    await eventually(lambda: open_files(tmp_path) == 1)
    spooling.discard()
    await eventually(lambda: open_files(tmp_path) == 0)


async def test_a_closed_body_gives_its_disk_back(tmp_path: Path) -> None:
    body = await spooled(Spool(1, tmp_path), [b"12345"])
    assert open_files(tmp_path) == 1
    body.close()
    body.close()
    await eventually(lambda: open_files(tmp_path) == 0)


class NoThread(Thread):
    def submit(self, function: Callable[[], T]) -> Future[T]:
        raise AssertionError(f"{function} in a thread")


async def test_a_small_body_needs_no_thread(tmp_path: Path) -> None:
    spooling = Spooling(1_048_576, tmp_path, Pair(NoThread(), NoThread()))
    await spooling.append(PIECE)
    body = await spooling.finish()
    assert (body.length, body.sha256) == (len(PIECE), hashlib.sha256(PIECE).hexdigest())
    body.close()


async def fill(spooling: Spooling) -> None:
    while True:
        await spooling.append(PIECE)
        await asyncio.sleep(0)


async def test_a_disk_that_does_not_answer_stops_the_flow(tmp_path: Path, disk: Stuck) -> None:
    """Memory for one body, and three batches, the third of which is overfull by a piece at most."""
    spooling = Spooling(1_048_576, tmp_path, disk.threads)
    filling = asyncio.create_task(fill(spooling))
    taken = -1
    while spooling.length > taken:
        taken = spooling.length
        assert taken <= 1_048_576 + 3 * 524_288 + 4 * len(PIECE)
        await asyncio.sleep(0.2)
    disk.answers.set()
    await eventually(lambda: spooling.length > 10 * taken)
    filling.cancel()
    spooling.discard()


async def test_who_gives_up_on_a_stuck_disk_leaves_nothing_behind(
    tmp_path: Path, disk: Stuck
) -> None:
    """The writer is not done when the body is given up; the file is closed behind it, by it."""
    spooling = Spooling(1, tmp_path, disk.threads)
    await spooling.append(PIECE)
    disk.answers.set()
    await eventually(lambda: open_files(tmp_path) == 1)
    disk.answers.clear()
    disk.threads.writer.submit(disk.answers.wait)
    filling = asyncio.create_task(fill(spooling))
    await asyncio.sleep(0.02)
    filling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await filling
    spooling.discard()
    assert open_files(tmp_path) == 1
    disk.answers.set()
    await eventually(lambda: open_files(tmp_path) == 0)


async def test_a_disk_that_never_answers_is_given_up(tmp_path: Path, disk: Stuck) -> None:
    spooling = Spooling(1, tmp_path, disk.threads, patience_seconds=0.05)
    with pytest.raises(OSError, match="does not answer"):
        await fill(spooling)
    spooling.discard()


async def test_bodies_of_one_thread_do_not_mix(tmp_path: Path) -> None:
    threads = Pair(Thread(), Thread())
    contents = [os.urandom(3_000_000) for _ in range(4)]

    async def one(content: bytes) -> SpooledBody:
        spooling = Spooling(10, tmp_path, threads)
        for at in range(0, len(content), 70_000):
            await spooling.append(content[at : at + 70_000])
            await asyncio.sleep(0)
        return await spooling.finish()

    for content, body in zip(contents, await asyncio.gather(*map(one, contents)), strict=True):
        assert body.read(len(content) + 1) == content
        assert body.sha256 == hashlib.sha256(content).hexdigest()
        body.close()


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
