"""The audit's file: its room, its changes from outside, its rotation, and what it does on a full disk."""

import asyncio
import errno
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.edges.audit_file import FileSink
from tests.fakes import FakeClock
from tests.upstream_kit import settled

LINE = b'{"seq":1}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def sink(path: Path) -> Iterator[FileSink]:
    opened = FileSink(path, 1 << 20, FakeClock())
    yield opened
    opened.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "audit-test", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def content(path: Path) -> bytes:
    """Of the file itself, not of what a link points to."""
    assert not path.is_symlink()
    return path.read_bytes()


def aside(path: Path) -> list[Path]:
    """The files that were put aside, the oldest first."""
    return sorted(path.parent.glob("audit-*.jsonl"))


def test_the_file_is_private_and_is_appended_to_after_a_restart(path: Path) -> None:
    for line in (b"1\n", b"2\n"):
        sink = FileSink(path, 1 << 20, FakeClock())
        sink.write([line])
        sink.close()
    assert path.read_bytes() == b"1\n2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["symlink", "pipe", "directory"])
def test_what_is_no_regular_file_is_refused(path: Path, kind: str) -> None:
    keep = -1
    if kind == "symlink":
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
        keep = os.open(path, os.O_RDWR)
    with pytest.raises(OSError):  # noqa: PT011 (each kind has its own errno)
        FileSink(path, 1 << 20, FakeClock())
    if keep >= 0:
        os.close(keep)


def test_room_is_set_apart_without_making_the_file_longer(sink: FileSink, path: Path) -> None:
    sink.make_room(10_000)
    assert (path.stat().st_size, sink.room_to >= 10_000) == (0, True)
    assert path.stat().st_blocks * 512 >= 10_000


# ---- rotation


def test_a_full_file_is_rotated_and_no_line_is_lost_or_split(path: Path) -> None:
    clock = FakeClock()
    sink = FileSink(path, 20, clock)
    lines = [b"line %03d\n" % number for number in range(20)]
    for line in lines:
        clock.advance(1)
        turn = sink.look()
        if turn is not None:
            assert turn.event == "rotate"
            assert turn.facts["previous"] == aside(path)[-1].name
        sink.write([line])
    files = [*aside(path), path]
    assert len(files) == 7
    assert b"".join(file.read_bytes() for file in files) == b"".join(lines)
    sink.close()


def test_a_file_is_rotated_with_the_first_line_of_a_day(path: Path) -> None:
    clock = FakeClock()
    sink = FileSink(path, 1 << 20, clock, rotate_daily=True)
    turn = sink.look()
    assert turn is None
    sink.write([LINE])
    assert sink.look() is None
    clock.advance(86_400)
    turn = sink.look()
    assert turn is not None
    assert (turn.event, turn.facts["cause"]) == ("rotate", "day")
    assert sink.look() is None
    sink.close()


def test_a_rotation_never_overwrites_an_older_file(path: Path) -> None:
    """The clock stands still."""
    sink = FileSink(path, 4, FakeClock())
    for line in (b"one\n", b"two\n", b"six\n"):
        sink.look()
        sink.write([line])
    assert [file.read_bytes() for file in [*aside(path), path]].count(b"two\n") == 1
    assert b"".join(sorted(f.read_bytes() for f in path.parent.iterdir())) == b"one\nsix\ntwo\n"
    sink.close()


async def test_a_complete_file_is_on_disk_without_spare_room_before_anybody_hears_of_it(
    path: Path,
) -> None:
    heard: list[Path] = []
    sink = FileSink(path, 4, FakeClock(), rotated=heard.append)
    sink.make_room(1 << 20)
    sink.write([LINE])
    assert sink.look() is not None
    assert heard == []
    await sink.settle(durable=True)
    assert heard == aside(path)
    assert heard[0].stat().st_blocks * 512 <= 8192
    sink.close()


def test_somebody_who_asks_gets_a_new_file(sink: FileSink, path: Path) -> None:
    sink.write([LINE])
    turn = sink.rotate()
    assert turn is not None
    assert (turn.event, turn.facts["cause"]) == ("rotate", "signal")
    assert (path.read_bytes(), aside(path)[0].read_bytes()) == (b"", LINE)


# ---- changes from outside


def remove(path: Path) -> None:
    path.unlink()


def rename(path: Path) -> None:
    path.rename(path.with_name("moved"))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"forged\n")
    other.rename(path)


def put_a_link_there(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def truncate(path: Path) -> None:
    os.truncate(path, 3)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"forged\n")


CHANGES = [remove, rename, replace, put_a_link_there, truncate, append]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_from_outside_gives_a_new_file_and_is_told(
    sink: FileSink, path: Path, change: object
) -> None:
    sink.write([LINE])
    assert sink.look() is None
    change(path)  # type: ignore[operator]
    with pytest.raises(OSError, match="changed by somebody else"):
        await sink.settle(durable=True)
    turn = sink.repair()
    assert turn is not None
    assert turn.event == "break"
    assert content(path) == b""
    sink.write([LINE])
    await sink.settle(durable=True)
    assert content(path) == LINE
    assert sink.look() is None


async def test_a_change_is_told_to_all_that_wait_and_looked_for_after_every_sync(
    sink: FileSink, path: Path
) -> None:
    sink.write([LINE])
    await asyncio.gather(*(sink.settle(durable=True) for _ in range(3)))
    append(path)
    for _ in range(2):
        outcomes = await asyncio.gather(
            *(sink.settle(durable=True) for _ in range(3)), return_exceptions=True
        )
        assert [isinstance(outcome, OSError) for outcome in outcomes] == [True] * 3
    assert sink.repair() is not None
    await asyncio.gather(*(sink.settle(durable=True) for _ in range(3)))


async def test_lines_that_may_not_have_reached_the_disk_are_left_behind(path: Path) -> None:
    """After a failed fdatasync the kernel forgets which pages it owes, so another one proves nothing."""
    sink = FileSink(path, 1 << 20, FakeClock())
    sink.write([LINE])
    broken = os.open("/dev/null", os.O_WRONLY)  # fdatasync refuses it
    kept, sink._descriptor = sink._descriptor, broken
    with pytest.raises(OSError, match="Invalid argument"):
        await sink.settle(durable=True)
    sink._descriptor = kept
    turn = sink.repair()
    assert turn is not None
    assert "may not have reached the disk" in str(turn.facts["reason"])
    assert sink.repair() is None
    sink.close()


async def test_a_disk_that_hangs_is_given_up_in_time(path: Path) -> None:
    hanging = threading.Event()
    sink = FileSink(path, 1 << 20, FakeClock(), patience_seconds=0.05)
    sink._commits._commit = hanging.wait  # type: ignore[assignment]
    with pytest.raises(OSError, match="does not answer") as error:
        await sink.settle(durable=True)
    assert error.value.errno == errno.ETIMEDOUT
    with pytest.raises(OSError, match="does not answer"):
        sink.repair()
    hanging.set()
    await settled(lambda: not sink._commits.hangs)
    assert sink.repair() is None


async def test_a_disk_that_hangs_and_then_fails_leaves_its_lines_behind_too(path: Path) -> None:
    """Nobody waits any more when the failure comes."""
    goes_on = threading.Event()

    def hang_and_fail(_: Path) -> None:
        goes_on.wait(10)
        raise OSError(errno.EIO, "Input/output error")

    sink = FileSink(path, 4, FakeClock(), rotated=hang_and_fail, patience_seconds=0.05)
    sink.write([LINE])
    assert sink.look() is not None
    with pytest.raises(OSError, match="does not answer"):
        await sink.settle(durable=True)
    goes_on.set()
    await settled(lambda: not sink._commits.hangs)
    turn = sink.repair()
    assert turn is not None
    assert "may not have reached the disk" in str(turn.facts["reason"])


# ---- a full disk


def test_the_room_that_was_set_apart_is_there_on_a_full_disk(small_disk: Path) -> None:
    sink = FileSink(small_disk / "audit.jsonl", 1 << 20, FakeClock())
    sink.make_room(8192)
    fill(small_disk)
    sink.write([b"x" * 8191 + b"\n"])
    with pytest.raises(OSError, match="No space left"):
        sink.make_room(2 << 20)
    sink.close()


def test_a_line_that_does_not_fit_leaves_nothing_of_it(small_disk: Path) -> None:
    sink = FileSink(small_disk / "audit.jsonl", 1 << 20, FakeClock())
    sink.write([LINE])
    fill(small_disk)
    with pytest.raises(OSError, match="No space left"):
        sink.write([b"x" * 1_000_000])
    assert (small_disk / "audit.jsonl").read_bytes() == LINE
    assert sink.size == len(LINE)
    sink.close()


def test_of_many_lines_the_whole_ones_that_fit_stay(small_disk: Path) -> None:
    """On a full disk, without room that was set apart."""
    path = small_disk / "audit.jsonl"
    sink = FileSink(path, 1 << 30, FakeClock())
    lines = [b"%07d" % number * 100 + b"\n" for number in range(1, 20_001)]
    count = sink.write(lines)
    assert 0 < count < len(lines)
    assert path.read_bytes() == b"".join(lines[:count])
    assert sink.size == path.stat().st_size
    with pytest.raises(OSError, match="No space left"):
        sink.write([b"x" * (1 << 20)])
    assert sink.size == path.stat().st_size
    assert path.read_bytes().endswith(b"\n")
    sink.close()


def test_a_full_disk_does_not_lose_the_old_file_over_a_new_one(small_disk: Path) -> None:
    path = small_disk / "audit.jsonl"
    sink = FileSink(path, 4, FakeClock())
    sink.make_room(8192)
    sink.write([LINE])
    fill(small_disk)
    assert sink.look() is None
    sink.write([LINE])
    assert path.read_bytes() == 2 * LINE
    sink.close()


def test_a_removed_file_gives_its_blocks_to_the_new_one(small_disk: Path) -> None:
    path = small_disk / "audit.jsonl"
    sink = FileSink(path, 1 << 24, FakeClock())
    sink.write([b"x" * 3_000_000])
    fill(small_disk)
    path.unlink()
    assert sink.look() is not None
    sink.write([LINE])
    assert path.read_bytes() == LINE
    sink.close()


def fill(disk: Path) -> None:
    """Take every block that is free."""
    with (disk / "filler").open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                size = size if file.write(b"\0" * size) else 0
            except OSError:
                size //= 2


async def test_a_file_that_was_closed_over_a_failure_is_begun_anew(
    sink: FileSink, path: Path
) -> None:
    sink.write([LINE])
    sink._done.append((sink._descriptor, None))
    sink._descriptor = -1  # as where half a line could not be taken back
    with pytest.raises(OSError, match="closed"):
        await sink.settle(durable=True)
    assert sink.repair() is not None
    sink.write([LINE])
    await sink.settle(durable=True)
    assert content(path) == LINE


async def test_a_file_that_is_closed_behind_its_last_commit_was_changed_by_nobody(
    sink: FileSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit has succeeded; whoever waited for it goes on a turn later."""
    wait = sink._commits.wait

    async def closed_behind() -> int:
        run = await wait()
        sink.close()
        return run

    monkeypatch.setattr(sink._commits, "wait", closed_behind)
    sink.write([LINE])
    await sink.settle(durable=True)
