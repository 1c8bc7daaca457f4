"""What every main sink of the audit keeps: whole lines, in order, and an error where that fails."""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.audit.sinks import MainSink
from gateway.edges.audit_file import FileSink
from gateway.edges.audit_stdout import StdoutSink
from tests.fakes import FakeClock, FakeSink

Opened = tuple[MainSink, Callable[[], bytes]]


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


async def test_lines_arrive_whole_and_in_order(opened: Opened) -> None:
    sink, read = opened
    sink.begin()
    sink.make_room(1 << 16)
    for number in range(10):
        sink.write([b'{"n":%d}\n' % number])
    assert not sink.lags
    assert sink.look() is None
    assert sink.repair() is None
    for durable in (True, False):
        await sink.settle(durable=durable)
    assert read() == b"".join(b'{"n":%d}\n' % number for number in range(10))
    assert sink.room_to >= sink.size


def test_a_full_disk_raises_and_leaves_no_half_line() -> None:
    """/dev/full is the kernel's own full disk; it is a device, so it stands for standard output."""
    sink = StdoutSink(os.open("/dev/full", os.O_WRONLY))
    with pytest.raises(OSError, match="No space left") as error:
        sink.write([b"line\n"])
    assert error.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="No space left"):
        sink.write([b"line\n"])
