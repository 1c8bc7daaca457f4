"""Random chains, tampered with at random: whatever is done before a kept head is found."""

import copy
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.audit_log.heads import Head
from gateway.audit_log.lines import read_line
from gateway.audit_log.verify import Verdict, verify
from tests.audit_writer import CHAIN, KEY, Writer
from tests.examples import tried

EVENTS = st.sampled_from(["begin", "end", "denied", "start", "stop", "recovered", "rotate"])
SUBJECTS = st.text(max_size=12)


@st.composite
def chains(draw: st.DrawFn) -> Writer:
    writer = Writer(key_every=draw(st.integers(0, 5)), head_every=draw(st.integers(0, 4)))
    for _ in range(draw(st.integers(1, 24))):
        writer.write(draw(EVENTS), subject=draw(SUBJECTS), job_ids=["1"])
    return writer


def head_of(line: bytes) -> Head:
    read = read_line(line)
    assert read is not None
    return Head("", read.seq, read.mac)


def verdict_of(files: Sequence[bytes], head: Head | None, *, from_start: bool = True) -> Verdict:
    with TemporaryDirectory() as folder:
        paths = []
        for number, content in enumerate(files):
            compressed = number % 2 == 1
            path = Path(folder) / f"{number}.jsonl{'.gz' if compressed else ''}"
            path.write_bytes(gzip.compress(content) if compressed else content)
            paths.append(path)
        heads = [head] if head else []
        return verify(paths[::-1], {CHAIN: KEY}, heads, from_start=from_start)


def cut(draw: Callable[..., int], lines: Sequence[bytes]) -> list[bytes]:
    """The lines in one to three files."""
    first = draw(st.integers(0, len(lines)))
    second = draw(st.integers(first, len(lines)))
    return [b"".join(part) for part in (lines[:first], lines[first:second], lines[second:])]


@tried(200)
@given(st.data(), chains())
def test_an_untouched_chain_raises_no_alarm(data: st.DataObject, writer: Writer) -> None:
    """From wherever the files begin, and while the last line is still being written."""
    first = data.draw(st.integers(0, len(writer.lines) - 1))
    lines = writer.lines[first:]
    torn = lines[-1][: data.draw(st.integers(0, len(lines[-1]) - 1))]
    verdict = verdict_of([*cut(data.draw, lines[:-1]), torn], None, from_start=first == 0)
    assert verdict.all_findings == []
    whole = verdict_of(cut(data.draw, lines), head_of(lines[-1]), from_start=first == 0)
    assert whole.all_findings == []
    assert whole.chains[0].last_head == whole.chains[0].last_seq


@tried(200)
@given(st.data(), chains())
def test_a_line_begun_in_a_crash_raises_no_alarm(data: st.DataObject, writer: Writer) -> None:
    """Its number is used again: in the next file, or behind what was left of it."""
    at, lost = len(writer.lines), copy.deepcopy(writer)
    writer.write("start")
    other = data.draw(st.sampled_from([writer.lines[at], lost.write("end")]))
    torn = other[: data.draw(st.integers(1, len(other) - 2))]
    before, after = b"".join(writer.lines[:at]), b"".join(writer.lines[at:])
    shape = data.draw(st.sampled_from(["next file", "next line", "glued", "zeros"]))
    files = {
        "next file": [before + torn, after],
        "next line": [before + torn + b"\n" + after],
        "glued": [before + torn[:-1] + after],
        "zeros": [before + b"\0" * len(torn), after],
    }[shape]
    verdict = verdict_of(files, head_of(writer.lines[-1]))
    assert verdict.all_findings == []
    assert verdict.remarks or shape == "glued"


@tried(500)
@given(st.data(), chains())
def test_whatever_is_done_before_a_kept_head_is_found(data: st.DataObject, writer: Writer) -> None:
    lines = list(writer.lines)
    kept = head_of(lines[-1])
    tamper = data.draw(st.sampled_from(TAMPERINGS))
    tampered = tamper(data.draw, lines)
    if tampered == writer.lines:
        return
    # lines swapped by swapping whole files are in order again once the files are
    files = [b"".join(tampered)] if tamper is swap else cut(data.draw, tampered)
    verdict = verdict_of(files, kept)
    assert verdict.all_findings != [], tampered


Draw = Callable[..., Any]


def edit(draw: Draw, lines: list[bytes]) -> list[bytes]:
    at = draw(st.integers(0, len(lines) - 1))
    line = bytearray(lines[at])
    line[draw(st.integers(0, len(line) - 2))] ^= draw(st.integers(1, 255))
    lines[at] = bytes(line)
    return lines


def delete(draw: Draw, lines: list[bytes]) -> list[bytes]:
    first = draw(st.integers(0, len(lines) - 1))
    return lines[:first] + lines[draw(st.integers(first + 1, len(lines))) :]


def swap(draw: Draw, lines: list[bytes]) -> list[bytes]:
    one, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
    lines[one], lines[other] = lines[other], lines[one]
    return lines


def insert_copy(draw: Draw, lines: list[bytes]) -> list[bytes]:
    again = lines[draw(st.integers(0, len(lines) - 1))]
    at = draw(st.integers(0, len(lines)))
    return [*lines[:at], again, *lines[at:]]


def insert_forged(draw: Draw, lines: list[bytes]) -> list[bytes]:
    at = draw(st.integers(0, len(lines)))
    forger = Writer(key=b"x" * 32, key_every=0)
    forger.seq = draw(st.integers(0, len(lines) + 2))
    forger.write("end", subject="s-eve")
    return [*lines[:at], *forger.lines, *lines[at:]]


def insert_junk(draw: Draw, lines: list[bytes]) -> list[bytes]:
    at = draw(st.integers(0, len(lines)))
    junk = draw(st.sampled_from([b"junk\n", b"# comment\n", b"{}\n", b'{"seq":"1"}\n', b"\xff\n"]))
    return [*lines[:at], junk, *lines[at:]]


def truncate(draw: Draw, lines: list[bytes]) -> list[bytes]:
    """By more than the end of the last line, without which nothing is lost."""
    content = b"".join(lines)
    return [content[: draw(st.integers(0, len(content) - 2))]]


TAMPERINGS = [edit, delete, swap, insert_copy, insert_forged, insert_junk, truncate]
