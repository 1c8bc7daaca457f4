"""Following a file by its name, over everything that happens to it."""

from pathlib import Path

import pytest

from gateway.audit_log.tailing import Tail
from tests.audit_writer import Writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_it_begins_behind_what_is_there_and_gives_whole_lines_only(path: Path) -> None:
    append(path, b"old\nhalf")
    tail = Tail(path)
    assert tail.poll() == []
    append(path, b" a line\nnext\nbegun")
    assert tail.poll() == [b"half a line\n", b"next\n"]
    append(path, b"\n")
    assert tail.poll() == [b"begun\n"]
    tail.close()


def test_it_may_begin_at_the_start(path: Path) -> None:
    append(path, b"one\ntwo\n")
    assert Tail(path, from_start=True).poll() == [b"one\n", b"two\n"]


def test_a_file_that_is_not_there_yet_is_waited_for(path: Path) -> None:
    tail = Tail(path)
    assert tail.poll() == []
    append(path, b"first\n")
    assert tail.poll() == [b"first\n"]


def test_a_rotation_loses_nothing(path: Path) -> None:
    append(path, b"one\n")
    tail = Tail(path, from_start=True)
    assert tail.poll() == [b"one\n"]
    append(path, b"two\n")
    path.rename(path.with_suffix(".1"))
    assert tail.poll() == [b"two\n"]
    assert tail.poll() == []
    append(path, b"three\n")
    assert tail.poll() == [b"three\n"]
    assert tail.line == 1


def test_a_file_cut_short_is_read_from_its_start(path: Path) -> None:
    append(path, b"one\ntwo\n")
    tail = Tail(path)
    path.write_bytes(b"new\n")
    assert tail.poll() == [b"new\n"]


def test_lines_that_came_and_went_between_two_looks_are_told(path: Path) -> None:
    writer = Writer()
    for _ in range(9):
        writer.write("end")
    append(path, b"".join(writer.lines[:3]))
    tail = Tail(path, from_start=True)
    tail.poll()
    assert tail.gap == ""
    path.unlink()
    append(path, b"".join(writer.lines[6:]))
    assert tail.poll() == writer.lines[6:]
    assert tail.gap.startswith("lines 4 to 6 ")


def test_a_line_written_between_the_look_and_the_rotation_is_not_lost(path: Path) -> None:
    class Racing(Tail):
        def _was_replaced(self) -> bool:
            append(path, b"late\n")
            path.rename(path.with_suffix(".1"))
            append(path, b"new\n")
            return super()._was_replaced()

    append(path, b"one\n")
    tail = Racing(path)
    assert tail.poll() == [b"late\n"]


def test_what_a_rotated_file_has_left_unfinished_is_given_as_it_is(path: Path) -> None:
    append(path, b"one\nhalf")
    tail = Tail(path, from_start=True)
    assert tail.poll() == [b"one\n"]
    path.rename(path.with_suffix(".1"))
    append(path, b"new\n")
    assert tail.poll() == [b"half", b"new\n"]
    assert tail.line == 1
