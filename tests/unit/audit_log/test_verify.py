"""What `verify` says of each kind of tampering, and where; and what it does not take for tampering."""

import copy
import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.audit_log.findings import Kind
from gateway.audit_log.heads import Head, read_head
from gateway.audit_log.verify import Verdict, verify
from tests.audit_writer import CHAIN, KEY, Writer, request

Lines = list[bytes]
OTHER = "0badc0de0badc0de0badc0de0badc0de"


@pytest.fixture
def writer() -> Writer:
    """A hundred lines; the key moves on after 10, 21, 31 and so on."""
    made = Writer(key_every=10)
    while made.seq < 99:
        made.write("end", **request(f"r{made.seq}"))
    made.key_every = 0
    made.write("stop")
    return made


def verdict_of(
    folder: Path, *contents: bytes | Lines, heads: tuple[Head, ...] = (), from_start: bool = True
) -> Verdict:
    paths = []
    for number, content in enumerate(contents):
        paths.append(folder / f"{number}.jsonl")
        paths[-1].write_bytes(content if isinstance(content, bytes) else b"".join(content))
    return verify(paths, {CHAIN: KEY}, heads, from_start=from_start)


def told(verdict: Verdict) -> list[tuple[Kind, int, int, int]]:
    """(what, first number, last number, line of the file) of each finding."""
    return [
        (one.kind, one.first_seq, one.last_seq, one.place.line if one.place else 0)
        for one in verdict.all_findings
    ]


def replaced(line: bytes) -> bytes:
    """Another text and another MAC, so that nothing of the line is genuine."""
    return (
        line.replace(b"alice", b"mallo").replace(b',"mac":"', b',"mac":"')[:-35]
        + b"0" * 32
        + b'"}\n'
    )


CASES: dict[str, tuple[Callable[[Lines], Lines], list[tuple[Kind, int, int, int]]]] = {
    "what a line says": (
        lambda x: [*x[:49], x[49].replace(b"alice", b"mallo"), *x[50:]],
        [(Kind.CHANGED, 50, 50, 50)],
    ),
    "the mac alone": (
        lambda x: [
            *x[:49],
            x[49][:-4] + (b"0" if x[49][-4:-3] != b"0" else b"1") + x[49][-3:],
            *x[50:],
        ],
        [(Kind.MAC_CHANGED, 50, 50, 50)],
    ),
    "a whole line": (
        lambda x: [*x[:49], replaced(x[49]), *x[50:]],
        [(Kind.CHANGED, 50, 50, 50)],
    ),
    "the line at which the key moves on": (
        lambda x: [*x[:10], x[10].replace(b'"epoch":1', b'"epoch":7'), *x[11:]],
        [(Kind.CHANGED, 11, 11, 11)],
    ),
    "the first line": (
        lambda x: [x[0].replace(b"alice", b"mallo"), *x[1:]],
        [(Kind.CHANGED, 1, 1, 1)],
    ),
    "the last line": (
        lambda x: [*x[:-1], x[-1].replace(b'"stop"', b'"head"')],
        [(Kind.INSERTED, 100, 100, 100)],
    ),
    "one line taken out": (lambda x: x[:49] + x[50:], [(Kind.MISSING, 50, 50, 50)]),
    "the first lines taken out": (lambda x: x[5:], [(Kind.MISSING, 1, 5, 1)]),
    "many lines and several keys taken out": (
        lambda x: x[:5] + x[75:],
        [(Kind.MISSING, 6, 75, 6)],
    ),
    "two lines swapped": (
        lambda x: [*x[:49], x[50], x[49], *x[51:]],
        [(Kind.MOVED, 51, 51, 50)],
    ),
    "a block moved to the end": (
        lambda x: x[:20] + x[40:] + x[20:40],
        [(Kind.MOVED, 41, 100, 21)],
    ),
    "a genuine line copied": (
        lambda x: [*x[:70], x[20], *x[70:]],
        [(Kind.INSERTED, 21, 21, 71)],
    ),
    "genuine lines copied": (
        lambda x: [*x[:70], *x[20:30], *x[70:]],
        [(Kind.REPEATED, 21, 30, 71)],
    ),
    "a line of another key": (
        lambda x: [*x[:49], replaced(x[49]), *x[49:]],
        [(Kind.INSERTED, 50, 50, 50)],
    ),
    "text that is no line": (
        lambda x: [*x[:49], b"garbage\n", *x[49:]],
        [(Kind.NO_LINE, 0, 0, 50)],
    ),
    "the frame of a line": (
        lambda x: [*x[:49], x[49].replace(b',"mac":"', b',"mbc":"'), *x[50:]],
        [(Kind.MISSING, 50, 50, 51), (Kind.NO_LINE, 50, 50, 50)],
    ),
    "the end of a line": (
        lambda x: [*x[:49], x[49].replace(b"\n", b"\r\n"), *x[50:]],
        [(Kind.MISSING, 50, 50, 51), (Kind.NO_LINE, 50, 50, 50)],
    ),
    "several at once": (
        lambda x: [
            *x[:9],
            x[9].replace(b"alice", b"mallo"),
            *x[10:29],
            *x[31:59],
            b"{}\n",
            *x[59:81],
            x[81].replace(b"alice", b"mallo"),
            *x[82:],
        ],
        [
            (Kind.CHANGED, 10, 10, 10),
            (Kind.MISSING, 30, 31, 30),
            (Kind.CHANGED, 82, 82, 81),
            (Kind.NO_LINE, 0, 0, 58),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_tampering_is_told_with_its_place_and_nothing_else_is(
    tmp_path: Path, writer: Writer, case: str
) -> None:
    tamper, expected = CASES[case]
    assert told(verdict_of(tmp_path, tamper(writer.lines))) == expected


def test_a_file_that_is_gone_is_a_gap(tmp_path: Path, writer: Writer) -> None:
    verdict = verdict_of(tmp_path, writer.lines[:30], writer.lines[60:])
    assert told(verdict) == [(Kind.MISSING, 31, 60, 1)]
    assert "61 cannot be checked" in verdict.all_findings[0].text


def test_what_was_cut_off_before_a_kept_head_is_found(tmp_path: Path, writer: Writer) -> None:
    head = Head("", 100, writer.mac)
    verdict = verdict_of(tmp_path, writer.lines[:90], heads=(head,))
    assert told(verdict) == [(Kind.CUT_OFF, 91, 100, 0)]
    whole = verdict_of(tmp_path, writer.lines, heads=(head,))
    assert whole.is_sound
    assert whole.chains[0].last_head == 100


def test_a_head_may_be_written_with_the_number_of_the_line_that_told_it(tmp_path: Path) -> None:
    writer = Writer(head_every=5)
    for _ in range(5):
        writer.write("begin")
    head = Head(CHAIN, 6, bytes.fromhex(writer.lines[5].partition(b'"head":"')[2][:32].decode()))
    assert verdict_of(tmp_path, writer.lines, heads=(head,)).is_sound
    assert told(verdict_of(tmp_path, writer.lines[:5], heads=(head,))) == [(Kind.CUT_OFF, 6, 6, 0)]


def test_a_head_of_another_history_is_told(tmp_path: Path, writer: Writer) -> None:
    verdict = verdict_of(tmp_path, writer.lines, heads=(Head("", 50, b"\1" * 16),))
    assert told(verdict) == [(Kind.HEAD_DIFFERS, 50, 50, 0)]


def test_a_head_before_the_first_line_given_is_said_to_be_uncheckable(
    tmp_path: Path, writer: Writer
) -> None:
    head = Head("", 5, b"\1" * 16)
    verdict = verdict_of(tmp_path, writer.lines[50:], heads=(head,), from_start=False)
    assert verdict.is_sound
    assert len(verdict.uncheckable) == 1


def test_several_chains_in_one_set_of_files_are_told_apart(tmp_path: Path, writer: Writer) -> None:
    other = Writer(chain=OTHER, key=b"o" * 32, key_every=7)
    for _ in range(40):
        other.write("end")
    mixed = [line for pair in zip(writer.lines, other.lines, strict=False) for line in pair]
    (tmp_path / "a.jsonl").write_bytes(b"".join(mixed + other.lines[50:]))
    (tmp_path / "b.jsonl").write_bytes(b"".join(writer.lines[len(other.lines) :]))
    files = [tmp_path / "b.jsonl", tmp_path / "a.jsonl"]
    keys = {CHAIN: KEY, OTHER: b"o" * 32}
    assert verify(files, keys, from_start=True).all_findings == []
    partly = verify(files, {CHAIN: KEY}, from_start=True)
    assert [one.kind for one in partly.all_findings] == [Kind.UNKNOWN_CHAIN]


def test_another_key_fits_nothing(tmp_path: Path, writer: Writer) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"".join(writer.lines))
    verdict = verify([tmp_path / "a.jsonl"], {CHAIN: b"x" * 32})
    assert told(verdict) == [(Kind.CHANGED, 1, 100, 1)]
    assert "key" in verdict.all_findings[0].text


@pytest.mark.parametrize("first", [1, 9, 10, 55, 98])
def test_files_may_begin_anywhere_in_the_chain(tmp_path: Path, writer: Writer, first: int) -> None:
    """The epoch is found again, whatever it is by then."""
    verdict = verdict_of(tmp_path, writer.lines[first:], from_start=False)
    assert verdict.is_sound
    assert verdict.chains[0].first_seq == first + 1
    assert "cannot be checked" in verdict.chains[0].remarks[0]


def test_a_file_and_its_compressed_copy_are_one(tmp_path: Path, writer: Writer) -> None:
    plain, copy = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_bytes(b"".join(writer.lines))
    copy.write_bytes(gzip.compress(plain.read_bytes()))
    assert verify([plain, copy], {CHAIN: KEY}).is_sound
    copy.write_bytes(copy.read_bytes()[:200])
    half = verify([plain, copy], {CHAIN: KEY})
    assert half.is_sound
    assert "unfinished compression" in half.remarks[0]
    copy.write_bytes(gzip.compress(plain.read_bytes()[:-1] + b" "))
    assert told(verify([plain, copy], {CHAIN: KEY})) == [(Kind.COPY_DIFFERS, 0, 0, 0)]


def test_a_damaged_compressed_file_is_told_with_the_last_line_read(
    tmp_path: Path, writer: Writer
) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress(b"".join(writer.lines), 0)
    path.write_bytes(whole[: len(whole) // 2])
    verdict = verify([path], {CHAIN: KEY})
    assert verdict.all_findings == []
    assert not verdict.is_sound
    assert 40 < verdict.unreadable[0].line == verdict.line_count < 60


@pytest.mark.parametrize("content", [b"\x28\xb5\x2f\xfd....", None])
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.jsonl.zst"
    if content is not None:
        path.write_bytes(content)
    verdict = verify([path], {CHAIN: KEY})
    assert [one.path for one in verdict.unreadable] == [path]


def test_a_gateway_whose_state_was_set_back_is_told(tmp_path: Path, writer: Writer) -> None:
    """Both histories are genuine, which only one can be."""
    other = copy.deepcopy(writer)
    for _ in range(9):
        writer.write("end")
    for _ in range(19):
        other.write("start")
    verdict = verdict_of(tmp_path, [*writer.lines, *other.lines[100:]])
    assert told(verdict) == [(Kind.REPEATED, 101, 119, 110)]
    assert "set back" in verdict.all_findings[0].text


def test_thousands_of_pieces_are_judged_in_a_moment(tmp_path: Path) -> None:
    writer = Writer()
    for _ in range(12_000):
        writer.write("end", subject="s")
    writer.lines[3::4] = [line.replace(b'"s"', b'"x"') for line in writer.lines[3::4]]
    verdict = verdict_of(tmp_path, writer.lines)
    assert len(verdict.all_findings) == pytest.approx(3000, abs=5)


def test_a_chain_in_too_many_pieces_is_given_up_and_told(tmp_path: Path) -> None:
    writer = Writer()
    for _ in range(45_000):
        writer.write("end")
    verdict = verdict_of(tmp_path, writer.lines[::2])
    assert Kind.GAVE_UP in {one.kind for one in verdict.all_findings}


def test_a_forged_number_far_ahead_does_not_keep_it_busy(tmp_path: Path, writer: Writer) -> None:
    far = writer.lines[50].replace(b'"seq":51,', b'"seq":999999999999999,')
    verdict = verdict_of(tmp_path, [*writer.lines, far, far.replace(b"999,", b"1000,")])
    assert {one.kind for one in verdict.all_findings} == {Kind.INSERTED}


@pytest.mark.parametrize("text", ["", "5", "x:" + "0" * 32, "0:" + "0" * 32, "5:" + "0" * 31])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="SEQ:MAC"):
        read_head(text)
