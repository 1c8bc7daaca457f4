"""Lines of one turn of the event loop: one write, nothing sent before it, and nothing lost where it fails."""

import asyncio
import errno
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from gateway.audit.chain import Chain
from gateway.audit.journal import LONGEST_LINE, Journal
from gateway.audit.sinks import Forgetful, Turn
from gateway.edges.late_writes import LateWrites
from tests.fakes import FakeClock, FakeSink
from tests.unit.audit.test_journal import FULL, KEY, FakeOther, assert_whole, body, events

ON_BOTH_LOOPS = True


class CountingSink(FakeSink):
    """Takes `takes` lines of the next call and fails for the rest of it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []
        self.takes: int | None = None

    def write(self, lines: Sequence[bytes]) -> int:
        self.calls.append(len(lines))
        takes, self.takes = self.takes, None
        if takes is None:
            return super().write(lines)
        if not takes:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(lines[:takes])


def journal_with(sink: FakeSink, *others: FakeOther) -> Journal:
    journal = Journal(Chain(KEY), Forgetful(), FakeClock())
    journal.use(sink, others, syncs=False)
    journal.turn_lines.go_before(LateWrites())
    return journal


class Told:
    """Whose first line was not written, and why."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def __call__(self, request_id: str) -> Callable[[OSError], None]:
        return lambda error: self.of.update({request_id: error.strerror or ""})


async def test_lines_of_a_turn_are_one_write_in_their_order() -> None:
    sink, told = CountingSink(), Told()
    journal = journal_with(sink)
    for number in range(1, 4):
        journal.begin_soon(f"r{number}", body(number), told(f"r{number}"))
    journal.end_soon("r1", body(4))
    assert sink.lines == []
    await asyncio.sleep(0)
    assert (events(sink), sink.calls, told.of) == ([1, 2, 3, 4], [4], {})
    assert_whole(sink.lines)
    assert (journal.oldest, journal.written) == (2, 4)


async def test_what_is_sent_in_a_turn_goes_behind_its_lines() -> None:
    order: list[str] = []

    class Sink(FakeSink):
        def write(self, lines: Sequence[bytes]) -> int:
            order.append("lines")
            return super().write(lines)

    class Transport:
        def is_closing(self) -> bool:
            return False

        def write(self, data: bytes) -> None:
            order.append(data.decode())

        def abort(self) -> None:
            order.append("end")

    journal, late, told = journal_with(Sink()), LateWrites(), Told()
    journal.turn_lines.go_before(late)
    for is_flushed_early in (False, True):
        order.clear()
        late.add(Transport(), b"head")
        journal.begin_soon("r1", body(1), told("r1"))
        if is_flushed_early:
            late.flush()
        await asyncio.sleep(0)
        assert order == ["lines", "head"]


def test_where_what_goes_first_fails_nothing_is_sent() -> None:
    sent: list[bytes] = []

    class Transport:
        def is_closing(self) -> bool:
            return False

        def write(self, data: bytes) -> None:
            sent.append(data)

        def abort(self) -> None:
            sent.append(b"end")

    late = LateWrites()
    late._queue.append((Transport(), b"head"))

    def fail() -> None:
        raise RuntimeError("canary")

    late.first = fail
    with pytest.raises(RuntimeError):
        late.flush()
    assert sent == [b"end"]


def _settle(journal: Journal) -> Awaitable[None]:
    return journal.settle(durable=False)


@pytest.mark.parametrize(
    ("act", "after"),
    [
        (lambda journal: journal.begin("r9", body(9)), [9]),
        (lambda journal: journal.end("r9", body(9)), [9]),
        (lambda journal: journal.refusal(body(9)), [9]),
        (lambda journal: journal.event("head", {}), ["head"]),
        (lambda journal: journal.chain.seq, []),
        (lambda journal: journal.oldest, []),
        (lambda journal: journal.look(), []),
        (lambda journal: journal.rotate(), []),
        (lambda journal: journal.use_key(KEY.following()), []),
        (lambda journal: journal.use(FakeSink(), ()), []),
        (lambda journal: journal.stop(), []),
        (_settle, []),
    ],
)
async def test_whatever_else_is_asked_of_a_journal_comes_behind_them(
    act: Callable[[Journal], Any], after: list[object]
) -> None:
    """A head states the number and MAC of the line before it; a key ends an epoch behind its lines."""
    sink, told = CountingSink(), Told()
    journal = journal_with(sink)
    journal.begin_soon("r1", body(1), told("r1"))
    done = act(journal)
    if asyncio.iscoroutine(done):
        await done
    assert events(sink) == [1, *after]
    assert_whole(sink.lines)


async def test_on_a_full_disk_first_lines_are_told_and_last_ones_are_written_first() -> None:
    sink, told = CountingSink(), Told()
    journal = journal_with(sink)
    journal.begin("r1", body(1))
    sink.error = FULL
    journal.begin_soon("r2", body(2), told("r2"))
    journal.end_soon("r1", body(3))
    journal.begin_soon("r4", body(4), told("r4"))
    await asyncio.sleep(0)
    assert set(told.of) == {"r2", "r4"}
    assert journal.problem == "No space left on device"
    with pytest.raises(OSError, match="No space left"):
        journal.begin_soon("r5", body(5), told("r5"))
    sink.error = None
    assert await journal.try_again()
    assert events(sink) == [1, 3, "recovered"]
    assert journal.oldest == journal.chain.seq + 1
    assert_whole(sink.lines)


async def test_a_disk_with_room_for_one_takes_one() -> None:
    """The room of all of them is not there; that of the first is."""
    sink, told = CountingSink(), Told()
    journal = journal_with(sink)
    sink.room_to = LONGEST_LINE + LONGEST_LINE // 2
    for number in (1, 2, 3):
        journal.begin_soon(f"r{number}", body(number), told(f"r{number}"))
    await asyncio.sleep(0)
    assert (events(sink), set(told.of)) == ([1], {"r2", "r3"})
    journal.end_soon("r1", body(4))
    await asyncio.sleep(0)
    assert events(sink) == [1, 4], "the room of a last line is its own"
    assert_whole(sink.lines)


@pytest.mark.parametrize("takes", [1, 2, 3])
async def test_a_write_that_is_cut_short_keeps_what_is_whole(takes: int) -> None:
    sink, told = CountingSink(), Told()
    journal = journal_with(sink)
    journal.begin("r1", body(1))
    sink.takes = takes
    journal.begin_soon("r2", body(2), told("r2"))
    journal.end_soon("r1", body(3))
    journal.begin_soon("r4", body(4), told("r4"))
    await asyncio.sleep(0)
    assert (events(sink), told.of) == ([1, 2, 3, 4], {})
    assert (journal.oldest, journal.written) == (2, 4)
    assert_whole(sink.lines)


async def test_a_write_that_fails_without_a_reason_of_room_admits_nothing_more() -> None:
    """Nobody knows what a disk that reports an error has kept, even if it takes the next line."""
    sink, told = CountingSink(), Told()
    journal = journal_with(sink)
    journal.begin("r1", body(1))
    sink.takes = 0
    journal.begin_soon("r2", body(2), told("r2"))
    journal.end_soon("r1", body(3))
    await asyncio.sleep(0)
    assert (events(sink), told.of) == ([1, 3], {"r2": "Input/output error"})
    assert (journal.problem, journal.failures) == ("Input/output error", 1)
    assert_whole(sink.lines)


async def test_lines_that_come_behind_a_failure_of_the_same_turn_go_the_same_way() -> None:
    sink, told = CountingSink(), Told()
    journal = journal_with(sink)
    journal.begin_soon("r1", body(1), told("r1"))
    sink.takes = 0
    journal.flush()
    journal.end_soon("r0", body(2))
    await asyncio.sleep(0)
    assert (events(sink), set(told.of)) == ([2, "recovered"], {"r1"})
    assert_whole(sink.lines)


async def test_other_sinks_get_what_the_main_one_has() -> None:
    sink, other, told = CountingSink(), FakeOther(required=False), Told()
    journal = journal_with(sink, other)
    sink.room_to = LONGEST_LINE + LONGEST_LINE // 2
    for number in (1, 2):
        journal.begin_soon(f"r{number}", body(number), told(f"r{number}"))
    await asyncio.sleep(0)
    assert other.lines == sink.lines
    assert len(other.lines) == 1


@pytest.mark.parametrize("is_bound", [True, False])
async def test_a_line_waits_for_nothing_where_that_could_not_be_seen_to(*, is_bound: bool) -> None:
    """Where a sink has to be waited for, or nobody is known to send behind the lines."""
    sink, told = CountingSink(), Told()
    journal = Journal(Chain(KEY), Forgetful(), FakeClock())
    journal.use(sink, [FakeOther(required=True)] if is_bound else [], syncs=False)
    if is_bound:
        journal.turn_lines.go_before(LateWrites())
    journal.begin_soon("r1", body(1), told("r1"))
    journal.end_soon("r1", body(2))
    assert events(sink) == [1, 2]


class Untidy(FakeSink):
    """Cannot see to its file, because there is no room for a new one; its lines it would take."""

    looks = 0

    def look(self) -> None:
        self.looks += 1
        if self.error is not None:
            raise self.error

    def write(self, lines: Sequence[bytes]) -> int:
        self.lines += lines
        return len(lines)


async def test_what_a_full_disk_keeps_from_being_begun_anew_takes_no_lines() -> None:
    """A removed file would: nobody could ever read them."""
    sink, told, clock = Untidy(), Told(), FakeClock()
    journal = Journal(Chain(KEY), Forgetful(), clock)
    journal.use(sink, (), syncs=False)
    journal.turn_lines.go_before(LateWrites())
    sink.error = FULL
    journal.begin_soon("r1", body(1), told("r1"))
    await asyncio.sleep(0)
    assert (events(sink), set(told.of)) == ([], {"r1"})
    assert journal.problem == "No space left on device"


async def test_a_file_begins_with_why_it_does_also_where_that_needs_a_second_try() -> None:
    """The room of many first lines is not there, that of one is."""
    sink, told = CountingSink(), Told()
    journal = journal_with(sink)
    sink.turn = Turn("break", {"reason": "it was removed"})
    sink.room_to = LONGEST_LINE + LONGEST_LINE // 2
    for number in (1, 2):
        journal.begin_soon(f"r{number}", body(number), told(f"r{number}"))
    await asyncio.sleep(0)
    assert events(sink)[:1] in ([], ["break"])
    sink.room_to = sys.maxsize
    assert await journal.try_again()
    assert events(sink)[0] == "break"
    assert_whole(sink.lines)


class Faulty(FakeSink):
    """Has a fault that is no error of the system."""

    fault: Exception | None = None

    def repair(self) -> Turn | None:
        if self.fault is not None:
            raise self.fault
        return super().repair()


async def test_a_fault_of_ours_is_a_line_that_cannot_be_written() -> None:
    sink, told = Faulty(), Told()
    journal = journal_with(sink)
    journal.begin("r1", body(1))
    sink.fault = ValueError("canary")
    journal.begin_soon("r2", body(2), told("r2"))
    journal.end_soon("r1", body(3))
    journal.begin_soon("r4", body(4), told("r4"))
    await asyncio.sleep(0)
    assert told.of == {"r2": "ValueError", "r4": "ValueError"}
    assert journal.problem == "ValueError"
    assert not await journal.try_again()
    sink.fault = None
    assert await journal.try_again()
    assert events(sink) == [1, 3, "recovered"]
    assert journal.oldest == journal.chain.seq + 1
    assert_whole(sink.lines)


async def test_nobody_who_hears_of_a_failure_keeps_the_others_from_it() -> None:
    sink, told = FakeSink(), Told()
    journal = journal_with(sink)
    journal.begin("r1", body(1))
    sink.error = FULL

    def fail(_: OSError) -> None:
        raise RuntimeError("canary")

    journal.begin_soon("r2", body(2), fail)
    journal.begin_soon("r3", body(3), told("r3"))
    journal.end_soon("r1", body(4))
    journal.flush()
    assert set(told.of) == {"r3"}
    sink.error = None
    assert await journal.try_again()
    assert events(sink) == [1, 4, "recovered"]


async def test_a_last_line_of_the_turn_in_which_it_recovers_is_written_before_that_is_said() -> (
    None
):
    """Its room is not counted any more: a refusal that had waited might take it."""
    sink = FakeSink()
    journal = journal_with(sink)
    journal.begin("r1", body(1))
    sink.error = FULL
    journal.refusal(body(2))
    sink.error = None
    journal.end_soon("r1", body(3))
    assert await journal.try_again()
    assert events(sink) == [1, 3, 2, "recovered"]
    assert_whole(sink.lines)
