"""When a new version of a file counts, and what happens while there is none."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.edges.edited_file import EditedFile, FileUnusable
from tests.fakes import FakeClock


def parse(raw: bytes) -> str:
    if raw.startswith(b"broken"):
        raise ValueError("is broken")
    return raw.decode()


class Scene:
    """A file that holds one word."""

    def __init__(self, folder: Path, word: str = "old") -> None:
        self.path, self.clock = folder / "file", FakeClock(1_000.0)
        self.parsed = 0
        self.write(word)

    def write(self, word: str) -> None:
        self.path.write_text(word)
        os.utime(self.path, (self.clock.now, self.clock.now))

    def parse(self, raw: bytes) -> str:
        self.parsed += 1
        return parse(raw)

    def open(self) -> EditedFile[str]:
        return EditedFile(self.path, self.parse, 100, self.clock)


def test_a_new_version_counts_once_it_was_left_alone_for_a_second(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    file = scene.open()
    scene.clock.advance(60)
    scene.write("")
    scene.clock.advance(0.9)
    file.look()
    assert file.content == "old", "empty between truncation and the first byte"
    scene.write("new")
    scene.clock.advance(1)
    file.look()
    assert file.content == "new"


def test_a_version_dated_in_the_future_counts(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    file = scene.open()
    scene.path.write_text("new")
    os.utime(scene.path, (9_000, 9_000))
    file.look()
    assert file.content == "new"


def test_a_file_that_was_put_in_its_place_counts(tmp_path: Path) -> None:
    """As editors and configuration management do it; size and time may even be the same."""
    scene = Scene(tmp_path)
    file = scene.open()
    other = tmp_path / "other"
    other.write_text("new")
    os.utime(other, (scene.clock.now, scene.clock.now))
    other.replace(scene.path)
    scene.clock.advance(2)
    assert file.content == "new"


def test_reading_looks_by_itself_where_nobody_else_does(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    file = scene.open()
    scene.write("new!")
    scene.clock.advance(1.9)
    assert file.content == "old"
    scene.clock.advance(0.1)
    assert file.content == "new!"


def test_a_clock_that_was_set_back_does_not_stop_the_looks(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    file = scene.open()
    scene.clock.now = 500.0
    scene.write("new!")
    scene.clock.now = 502.0
    assert file.content == "new!"


def test_an_unchanged_file_is_not_parsed_again_nor_is_a_broken_one(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    file = scene.open()
    for _ in range(3):
        scene.clock.advance(10)
        assert file.content == "old"
    assert scene.parsed == 1
    scene.write("broken")
    for _ in range(3):
        scene.clock.advance(10)
        assert file.content == "old"
        assert file.error == f"{scene.path}: is broken"
    assert scene.parsed == 2


def test_a_file_that_is_gone_for_a_while_is_reported_for_that_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path)
    file = scene.open()
    away = scene.path.rename(tmp_path / "away")
    for _ in range(3):
        file.look()
    assert (file.content, file.error) == ("old", f"{scene.path}: No such file or directory")
    assert len([line for line in caplog.records if line.levelno == logging.ERROR]) == 1
    away.rename(scene.path)
    scene.clock.advance(5)
    file.look()
    assert (file.content, file.error) == ("old", "")


def test_an_error_that_passes_leaves_no_error(tmp_path: Path) -> None:
    """The very same file, as after a network file system that did not answer."""
    scene = Scene(tmp_path)
    file = scene.open()
    file.error = "did not answer"
    file.look()
    assert file.error == ""


def put_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def put_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.unlink(), "No such file"),
        (put_a_folder, "directory"),
        (put_a_pipe, "not a regular file"),
        (lambda path: path.write_text("x" * 101), "longer than 100 bytes"),
        (lambda path: path.write_text("broken"), "is broken"),
    ],
    ids=["missing", "directory", "pipe", "too long", "broken"],
)
def test_an_unusable_file_stops_the_start(
    make: Callable[[Path], object], why: str, tmp_path: Path
) -> None:
    scene = Scene(tmp_path)
    make(scene.path)
    with pytest.raises(FileUnusable, match=why):
        scene.open()


async def test_the_keeper_looks_without_being_asked(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    loop, is_parsed = asyncio.get_running_loop(), asyncio.Event()

    def parse_and_tell(raw: bytes) -> str:
        loop.call_soon_threadsafe(is_parsed.set)
        return parse(raw)

    file = EditedFile(path, parse_and_tell, 100)
    await is_parsed.wait()
    is_parsed.clear()
    path.write_text("new")
    os.utime(path, (1_000, 1_000))
    keeper = asyncio.create_task(file.keep_fresh())
    await asyncio.wait_for(is_parsed.wait(), 60)
    keeper.cancel()
