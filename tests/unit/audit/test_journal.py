"""The order of lines, and what happens where one cannot be written."""

import asyncio
import errno
import json
import sys
from typing import Any

import pytest

from gateway.audit.chain import Chain, mac_of, new_chain_key
from gateway.audit.journal import LONGEST_LINE, Journal
from gateway.audit.sinks import Forgetful, Turn
from tests.fakes import FakeClock, FakeSink
from tests.upstream_kit import settled

KEY = new_chain_key(b"k" * 32)
FULL = OSError(errno.ENOSPC, "No space left on device")
HANGS = OSError(errno.ETIMEDOUT, "the disk does not answer")


class FakeOther:
    """A sink behind a queue."""

    def __init__(self, *, required: bool) -> None:
        self.required = required
        self.lines: list[bytes] = []
        self.problem = ""
        self.dropped = 0
        self.settled = 0

    def put(self, line: bytes) -> None:
        self.lines.append(line)

    async def settle(self) -> None:
        self.settled += 1
        if self.problem:
            raise OSError(errno.EAGAIN, self.problem)

    def close(self) -> None:
        """Nothing to close."""


def journal_with(sink: FakeSink, *others: FakeOther) -> Journal:
    journal = Journal(Chain(KEY), Forgetful(), FakeClock())
    journal.use(sink, others)
    return journal


def events(sink: FakeSink) -> list[Any]:
    return [line.get("n") or line["event"] for line in sink.records]


def body(number: int) -> str:
    return f'"event":"x","n":{number}'


def assert_whole(lines: list[bytes]) -> None:
    """Every number is there once and in order, and every MAC fits."""
    mac = Chain(KEY).mac
    for number, line in enumerate(lines, 1):
        assert json.loads(line)["seq"] == number
        mac = mac_of(KEY.key, mac, line.partition(b',"mac":"')[0])
        assert json.loads(line)["mac"] == mac.hex()


async def test_lines_are_numbered_chained_and_written_in_order() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    for number in range(1, 6):
        journal.begin(f"r{number}", body(number))
    assert journal.oldest == 1
    for number in range(1, 6):
        journal.end(f"r{number}", body(10 + number))
    assert events(sink) == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15]
    assert_whole(sink.lines)
    assert journal.oldest == 11


async def test_what_cannot_be_begun_leaves_no_trace_and_stops_admission() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    sink.error = FULL
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            journal.begin("r1", body(1))
    assert journal.problem == "No space left on device"
    assert (journal.chain.seq, journal.oldest) == (0, 1)


async def test_an_end_that_fails_is_the_first_thing_written_on_recovery() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    journal.begin("r1", body(1))
    sink.error = FULL
    journal.end("r1", body(2))
    journal.refusal(body(3))
    with pytest.raises(OSError, match="No space left"):
        journal.begin("r4", body(4))
    assert not await journal.try_again()
    sink.error = None
    assert await journal.try_again()
    journal.begin("r4", body(4))
    assert events(sink) == [1, 2, 3, "recovered", 4]
    assert_whole(sink.lines)
    recovered = sink.records[3]
    assert (recovered["lines"], recovered["reason"]) == (2, "No space left on device")


async def test_it_recovers_by_itself() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    sink.error = FULL
    journal.refusal(body(1))
    sink.error = None
    await settled(lambda: not journal.problem)
    assert events(sink) == [1, "recovered"]


async def test_the_room_of_an_end_is_set_apart_before_its_request_begins() -> None:
    """Two requests fit, with their ends; a third does not, and a refusal takes nobody's room."""
    sink = FakeSink()
    journal = journal_with(sink)
    sink.room_to = 2 * LONGEST_LINE + 1000
    journal.begin("r1", body(1))
    journal.begin("r2", body(2))
    with pytest.raises(OSError, match="No space left"):
        journal.begin("r3", body(3))
    journal.refusal(body(4))
    journal.end("r1", body(5))
    journal.end("r2", body(6))
    assert events(sink) == [1, 2, 5, 6]
    assert not await journal.try_again()
    sink.room_to = sys.maxsize
    assert await journal.try_again()
    assert events(sink)[4:] == [4, "recovered"]
    assert_whole(sink.lines)


async def test_a_disk_that_hangs_is_not_tried_again_by_every_end() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    journal.begin("r1", body(1))
    sink.error = HANGS
    with pytest.raises(OSError, match="does not answer"):
        await journal.settle(durable=True)
    sink.error = None  # a write would succeed, but it might as well take for ever
    journal.end("r1", body(2))
    assert events(sink) == [1]
    assert await journal.try_again()
    assert events(sink) == [1, 2, "recovered"]


async def test_refusals_that_wait_have_a_bound_and_ends_have_none() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    for number in range(3000):
        journal.begin(f"r{number}", body(1))
    sink.error = FULL
    for number in range(3000):
        journal.refusal(body(2))
        journal.end(f"r{number}", body(3))
    sink.error = None
    assert await journal.try_again()
    found = events(sink)[3000:]
    assert (found.count(2), found.count(3)) == (2000, 3000)
    assert sink.records[-1]["dropped"] == 1000


async def test_a_new_file_begins_with_the_line_that_says_why() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    sink.turn = Turn("break", {"reason": "it was removed"})
    journal.begin("r1", body(1))
    assert events(sink) == ["break", 1]
    assert_whole(sink.lines)


async def test_a_line_about_a_new_file_is_not_lost_where_it_cannot_be_written_yet() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    sink.turn, sink.error = Turn("break", {}), FULL
    with pytest.raises(OSError, match="No space left"):
        journal.begin("r1", body(1))
    sink.error = None
    assert await journal.try_again()
    assert events(sink) == ["break", "recovered"]


async def test_every_line_is_brought_to_disk_though_nobody_waits() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    journal.begin("r1", body(1))
    assert sink.settled == []
    await settled(lambda: bool(sink.settled))
    assert sink.settled == [True]


async def test_without_durability_nothing_waits_for_the_disk() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    journal.use(sink, (), syncs=False)
    journal.begin("r1", body(1))
    await journal.settle(durable=True)
    await asyncio.sleep(0.25)
    assert sink.settled == [False]


async def test_a_required_sink_with_a_problem_stops_admission_and_another_does_not() -> None:
    sink, best_effort, required = FakeSink(), FakeOther(required=False), FakeOther(required=True)
    journal = journal_with(sink, best_effort, required)
    best_effort.problem = "away"
    journal.begin("r1", body(1))
    assert (journal.lags, journal.problem) == (True, "")
    required.problem = "away"
    with pytest.raises(OSError, match="away"):
        journal.begin("r2", body(2))
    assert (len(best_effort.lines), len(required.lines)) == (1, 1)
    required.problem = ""
    journal.begin("r3", body(3))
    await journal.settle(durable=False)
    assert (best_effort.settled, required.settled) == (0, 1)


async def test_a_required_sink_that_does_not_answer_refuses_and_leaves_the_file_alone() -> None:
    sink, required = FakeSink(), FakeOther(required=True)
    journal = journal_with(sink, required)
    journal.begin("r1", body(1))
    required.problem = "hangs"
    with pytest.raises(OSError, match="hangs"):
        await journal.settle(durable=True)
    required.problem = ""
    journal.end("r1", body(2))
    assert events(sink) == [1, 2]


async def test_other_sinks_get_only_what_the_main_one_has_taken() -> None:
    """Or a chain would go on in two ways."""
    sink, other = FakeSink(), FakeOther(required=False)
    journal = journal_with(sink, other)
    journal.begin("r1", body(1))
    sink.error = FULL
    journal.end("r1", body(2))
    assert other.lines == sink.lines
    sink.error = None
    assert await journal.try_again()
    assert other.lines == sink.lines


async def test_once_stopped_nothing_is_written_noted_or_repaired() -> None:
    sink = FakeSink()
    journal = journal_with(sink)
    journal.begin("r1", body(1))
    journal.stop()
    sink.error = FULL
    journal.end("r1", body(2))
    await asyncio.sleep(0.25)
    assert (events(sink), sink.settled, journal.problem) == ([1], [], "")
