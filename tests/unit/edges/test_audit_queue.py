"""A sink behind a queue: lines in order, nobody stalled, and nothing said to have arrived that has not."""

import threading
import time
from collections import deque
from collections.abc import Iterator

import pytest

from gateway.edges.audit_queue import QueuedSink
from tests.upstream_kit import settled


class Place:
    """A writer that waits, or fails, as it is told."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.go = threading.Event()
        self.go.set()
        self.fails = False
        self.closed = threading.Event()

    def write(self, lines: deque[bytes]) -> None:
        while lines:
            self.go.wait(10)
            if self.fails:
                raise OSError(104, "Connection reset by peer")
            self.lines.append(lines.popleft())

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def place() -> Iterator[Place]:
    there = Place()
    yield there
    there.fails = False
    there.go.set()


def queued(place: Place, *, patience_seconds: float = 30, most_lines: int = 100_000) -> QueuedSink:
    return QueuedSink(
        "place",
        place,
        required=True,
        most_lines=most_lines,
        patience_seconds=patience_seconds,
    )


LINES = [b"%d\n" % number for number in range(1000)]


async def test_lines_arrive_in_order_before_anybody_is_told(place: Place) -> None:
    sink = queued(place)
    for line in LINES:
        sink.put(line)
    await sink.settle()
    assert place.lines == LINES
    assert (sink.problem, sink.dropped) == ("", 0)
    sink.close()
    assert place.closed.is_set()


async def test_a_place_that_hangs_is_given_up_in_time_and_stalls_nobody(place: Place) -> None:
    sink = queued(place, patience_seconds=0.1)
    place.go.clear()
    for line in LINES:
        sink.put(line)
    await settled(lambda: sink._busy_since)  # or it could be the thread's beginning that takes long
    began = time.monotonic()
    with pytest.raises(OSError, match="place: hangs"):
        await sink.settle()
    assert time.monotonic() - began < 5
    assert sink.problem == "place: hangs"
    place.go.set()
    await settled(lambda: sink._arrived == len(LINES))
    await sink.settle()
    assert place.lines == LINES


async def test_a_place_that_fails_gets_every_line_once_it_is_back(place: Place) -> None:
    sink = queued(place)
    place.fails = True
    for line in LINES[:10]:
        sink.put(line)
    await settled(lambda: sink.problem)
    assert sink.problem == "place: Connection reset by peer"
    with pytest.raises(OSError, match="Connection reset"):
        await sink.settle()
    place.fails = False
    await settled(lambda: not sink.problem)
    await sink.settle()
    assert place.lines == LINES[:10]


async def test_what_does_not_fit_is_counted(place: Place) -> None:
    sink = queued(place, most_lines=10)
    place.go.clear()
    for line in LINES[:25]:
        sink.put(line)
    assert sink.dropped == 15
    place.go.set()
    await settled(lambda: place.lines == LINES[:10])


async def test_the_end_does_not_wait_for_a_place_that_hangs(place: Place) -> None:
    sink = queued(place, patience_seconds=0.1)
    place.go.clear()
    sink.put(b"x\n")
    began = time.monotonic()
    sink.close()
    assert time.monotonic() - began < 5
