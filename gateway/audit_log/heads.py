"""SEQ:MAC, or lines that a remote sink has kept -> heads to hold a chain against."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from gateway.audit_log.lines import claimed_seq, read_line

_WRITTEN = re.compile(r"(?:([0-9a-f]{32}):)?([1-9]\d{0,17}):([0-9a-f]{32})")
_IN_LINE = re.compile(rb'"head":"([0-9a-f]{32})"')


class Head(NamedTuple):
    """The MAC of a line, kept where nobody who can write the files can. `chain` may be unsaid ("")."""

    chain: str
    seq: int
    mac: bytes

    def __str__(self) -> str:
        return f"{self.seq}:{self.mac.hex()}"


def read_head(text: str) -> Head:
    """Read SEQ:MAC or CHAIN:SEQ:MAC. Raises ValueError."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ValueError("write a head as SEQ:MAC, such as 4711:0123456789abcdef0123456789abcdef")
    return Head(found[1] or "", int(found[2]), bytes.fromhex(found[3]))


def read_kept(lines: Iterable[bytes]) -> list[Head]:
    """The heads in what a remote sink or an officer has kept: whole audit lines, or one SEQ:MAC a line.

    Whatever stands before an audit line (syslog's header) is passed over, and lines that are no head.
    Raises ValueError where a line is neither.
    """
    return [head for text in lines if (head := _kept(text.strip())) is not None]


def _kept(text: bytes) -> Head | None:
    if not text or text.startswith(b"#"):
        return None
    at = text.find(b'{"seq":')
    if at < 0:
        return read_head(text.decode("ascii", "replace"))
    line = read_line(text[at:] + b"\n")
    if line is None:
        raise ValueError(f"a damaged line, seq {claimed_seq(text[at:])}")
    found = _IN_LINE.search(line.text) if line.event == "head" else None
    # a whole line proves itself as well as the one before it
    return Head(line.chain, line.seq, line.mac) if found else None
