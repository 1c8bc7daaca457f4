"""Where a chain goes on: after a kill at every line, after a crash that lost lines, after somebody's hand."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.chain import Chain, ChainKey, new_chain_key
from gateway.audit.lines import event_body
from gateway.audit.recovery import NoLine, Tip, lost_end, read_past, resume
from gateway.edges.audit_tail import cut_torn_end, newest_first

KEY = new_chain_key(b"k" * 32)


class Written:
    """A chain on paper: its lines, and for each the epoch that the state directory may still hold."""

    def __init__(self) -> None:
        self.chain = Chain(KEY)
        self.lines: list[bytes] = []
        self.keys: list[ChainKey] = []
        self.tips: list[Tip] = []

    def write(self, event: str, **facts: Any) -> None:
        body = event_body(event, "2027-01-15T08:00:00.000000Z", facts)
        (line,), macs = self.chain.seal([body])
        self.chain.advance(macs)
        self.lines.append(line)
        if event == "key":
            self.chain.use(self.chain.key.following())
        self.keys.append(self.chain.key)
        self.tips.append(Tip(self.chain.seq, self.chain.key.epoch, macs[0], KEY.chain))


def story() -> Written:
    """A start, requests that overlap, keys that move on, heads."""
    written = Written()
    written.write("start", epoch=0, oldest=1)
    for number in range(1, 40):
        written.write("begin", request_id=f"r{number}")
        if number % 5 == 0:
            written.write("key", epoch=written.chain.key.epoch + 1)
        if number > 2:
            written.write("end", request_id=f"r{number - 2}")
        if number % 9 == 0:
            known = f'"r{number - 1}"'.encode()
            oldest = next(n for n, line in enumerate(written.lines, 1) if known in line)
            written.write("head", epoch=written.chain.key.epoch, head="", oldest=oldest)
    return written


STORY = story()


def open_at(count: int) -> set[str]:
    """Of the first lines: the requests that have begun and not ended."""
    past = read_past(reversed(STORY.lines[:count]))
    assert past is not None
    return {begin["request_id"] for begin in past.open}


@pytest.mark.parametrize("count", range(1, len(STORY.lines) + 1))
@pytest.mark.parametrize("lag", [0, 1, 12, 10_000])
def test_after_a_kill_at_any_line_the_chain_goes_on_from_it(count: int, lag: int) -> None:
    """The saved key may be behind by any number of lines, the tip by one, or be lost."""
    lines, saved = STORY.lines[:count], STORY.keys[max(0, count - 1 - lag)]
    for tip in (STORY.tips[count - 1], STORY.tips[count - 2] if count > 1 else None, None):
        resumed = resume(saved, read_past(reversed(lines)), tip)
        assert resumed.problem == ""
        assert resumed.chain.seq == count
        assert resumed.chain.key == STORY.keys[count - 1]
        if count < len(STORY.lines):
            body = STORY.lines[count].partition(b'",')[2].rpartition(b',"mac"')[0].decode()
            assert resumed.chain.seal([body])[0] == [STORY.lines[count]]


@pytest.mark.parametrize("count", range(1, len(STORY.lines) + 1))
def test_exactly_what_has_begun_and_not_ended_is_open(count: int) -> None:
    lines = [json.loads(line) for line in STORY.lines[:count]]
    begun, ended = (
        {line["request_id"] for line in lines if line["event"] == event}
        for event in ("begin", "end")
    )
    assert open_at(count) == begun - ended


def test_lines_that_a_power_cut_took_leave_a_gap_and_are_told() -> None:
    resumed = resume(KEY, read_past(reversed(STORY.lines[:20])), STORY.tips[25])
    assert resumed.problem == "the lines 21 to 26 are not in it"
    assert (resumed.chain.seq, resumed.chain.mac) == (26, STORY.tips[25].mac)


@pytest.mark.parametrize("tip", [None, STORY.tips[19]])
def test_an_edited_last_line_is_noticed(tip: Tip | None) -> None:
    lines = STORY.lines[:20]
    lines[-1] = lines[-1].replace(b"2027", b"2028")
    resumed = resume(KEY, read_past(reversed(lines)), tip)
    if tip is None:
        assert resumed.problem == "its last line, 20, is not as it was written"
    else:  # the tip knows the MAC, and the text was changed under it
        assert "is not as it was written" in resumed.problem
        assert resumed.chain.mac == tip.mac


def test_a_chain_that_lies_there_already_is_not_gone_on_with() -> None:
    other = new_chain_key(b"other key".ljust(32))
    resumed = resume(other, read_past(reversed(STORY.lines)), STORY.tips[-1])
    assert "of the chain" in resumed.problem
    assert (resumed.chain.seq, resumed.chain.key) == (0, other)
    assert resumed.open


def test_nothing_anywhere_is_a_new_chain() -> None:
    resumed = resume(KEY, None, None)
    assert (resumed.chain.seq, resumed.problem, resumed.open) == (0, "", ())
    assert resume(KEY.following(), None, None).problem
    assert resume(KEY, None, STORY.tips[5]).problem == "the lines up to 6 are not in it"


@given(st.binary(max_size=200))
def test_no_bytes_are_taken_for_a_line(noise: bytes) -> None:
    with pytest.raises(NoLine):
        read_past([noise])


@pytest.mark.parametrize("name", [b'"oldest"', b'"epoch"', b'"request_id"'])
def test_a_line_without_what_belongs_to_it_is_no_line(name: bytes) -> None:
    (line,) = [one for one in STORY.lines if name in one][:1]
    with pytest.raises(NoLine):
        read_past([line.replace(name, b'"other"')])


def test_a_closing_record_says_who_it_was() -> None:
    begin = {"seq": 7, "request_id": "r1", "user": "alice", "time": "t", "verdict": "granted"}
    record = lost_end(begin)
    assert (record["request_id"], record["user"]) == ("r1", "alice")
    assert (record["begin_seq"], record["began"], record["complete"]) == (7, "t", False)


# ---- files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.mark.parametrize("size", [0, 1, 100, 65_535, 65_536, 65_537, 200_000])
def test_lines_come_backwards_whatever_their_length(path: Path, size: int) -> None:
    lines = [b"a\n", b"x" * size + b"\n", b"b\n", b"y" * size + b"\n"]
    path.write_bytes(b"".join(lines))
    assert list(newest_first(path)) == lines[::-1]


def test_files_that_were_put_aside_come_after_the_newest_first(path: Path) -> None:
    folder = path.parent
    (folder / "audit-20270101T000000.000000Z.jsonl").write_bytes(b"3\n4\n")
    with gzip.open(folder / "audit-20260101T000000.000000Z.jsonl.gz", "wb") as packed:
        packed.write(b"1\n2\n")
    path.write_bytes(b"5\n")
    assert list(newest_first(path)) == [b"5\n", b"4\n", b"3\n", b"2\n", b"1\n"]


@pytest.mark.parametrize(
    ("content", "left", "torn"),
    [
        (b"", b"", b""),
        (b"one\n", b"one\n", b""),
        (b"one\ntw", b"one\n", b"tw"),
        (b"tw", b"", b"tw"),
        (b"one\n" + b"\0" * 70_000, b"one\n", b"\0" * 70_000),
    ],
)
def test_what_stands_behind_the_last_line_is_cut_off(
    path: Path, content: bytes, left: bytes, torn: bytes
) -> None:
    path.write_bytes(content)
    assert cut_torn_end(path) == torn
    assert path.read_bytes() == left


def test_no_file_has_no_torn_end(path: Path) -> None:
    assert cut_torn_end(path) == b""
