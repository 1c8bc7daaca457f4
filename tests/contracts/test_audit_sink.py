"""What every audit sink keeps: whole lines, in order, and an error where that fails."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.edges.audit_sinks import FileSink, StdoutSink
from gateway.stages.audit import AuditSink
from tests.fakes import FakeClock, FakeSink

Opened = tuple[AuditSink, Callable[[], bytes]]


@pytest.fixture(params=["fake", "file", "stdout"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    """A sink and a way to read all that it was given."""
    if request.param == "fake":
        fake = FakeSink()
        yield fake, lambda: b"".join(fake.lines)
    elif request.param == "file":
        path = tmp_path / "audit.jsonl"
        sink = FileSink(path, 1 << 20, FakeClock())
        yield sink, path.read_bytes
        sink.close()
    else:
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        yield StdoutSink(writer), lambda: os.read(reader, 1 << 16)
        os.close(reader)
        os.close(writer)


def test_lines_arrive_whole_and_in_order(opened: Opened) -> None:
    sink, read = opened
    sink.probe()
    for number in range(10):
        sink.write(b'{"n":%d}\n' % number)
    assert read() == b"".join(b'{"n":%d}\n' % number for number in range(10))


def test_the_file_is_private_and_is_appended_to_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for line in (b"1\n", b"2\n"):
        sink = FileSink(path, 1 << 20, FakeClock())
        sink.write(line)
        sink.close()
    assert path.read_bytes() == b"1\n2\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_file_is_rotated_and_no_line_is_lost_or_split(tmp_path: Path) -> None:
    path, clock = tmp_path / "audit.jsonl", FakeClock()
    sink = FileSink(path, 20, clock)
    lines = [b"line %03d\n" % number for number in range(20)]
    for line in lines:
        clock.advance(1)
        sink.write(line)
    files = [*sorted(tmp_path.glob("audit-*.jsonl")), path]
    assert len(files) == 10
    assert b"".join(file.read_bytes() for file in files) == b"".join(lines)


def test_a_rotation_never_overwrites_an_older_file(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "audit.jsonl", 4, FakeClock())  # the clock stands still
    for line in (b"one\n", b"two\n", b"six\n"):
        sink.write(line)
    assert sorted(file.read_bytes() for file in tmp_path.iterdir()) == [b"one\n", b"two\nsix\n"]


@pytest.mark.parametrize("kind", ["symlink", "pipe", "directory"])
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "audit.jsonl"
    if kind == "symlink":
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "directory":
        path.mkdir()
    else:
        os.mkfifo(path)
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))
        keep = os.open(path, os.O_RDWR)
        request = keep
    with pytest.raises(OSError):  # noqa: PT011 (each kind has its own errno)
        FileSink(path, 1 << 20, FakeClock())
    if kind == "pipe":
        os.close(request)


def test_a_full_disk_raises_and_leaves_no_half_line() -> None:
    """/dev/full is the kernel's own full disk; it is a device, so the descriptor is put in place."""
    sink = StdoutSink(os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(OSError) as error:  # noqa: PT011 (errno is checked below)
        sink.write(b"line\n")
    assert error.value.errno == errno.ENOSPC
