"""Bytes of a line -> its number, chain, event and MAC, without reading it as JSON.

A quote inside a JSON string is always escaped, so none of the marks looked for here can stand in a value
that somebody else has chosen.
"""

import re
from typing import NamedTuple

MAC_MARK = b',"mac":"'
TAIL_BYTES = 43
r"""`,"mac":"`, 32 hexadecimal digits, `"}` and the end of the line."""
RESUMED = frozenset({"start", "recovered", "break", "rotate", "lost-end"})
"""What stands after a line that a crash or a failure has left unfinished."""

_LINE = re.compile(
    rb'\{"seq":([1-9]\d{0,17}),"chain":"([0-9a-f]{32})","event":"([a-z-]{1,32})".*'
    rb',"mac":"([0-9a-f]{32})"\}\n'
)
_BEGIN = b'{"seq":'
_PART = re.compile(rb'\{"seq":[1-9]\d{0,17}(,("(c(h(a(i(n(".*)?)?)?)?)?)?)?)?')
_CLAIM = re.compile(rb'\{"seq":([1-9]\d{0,17}),"chain":"([0-9a-f]{32})"')
_CLAIMED_SEQ = re.compile(rb'\{"seq":([1-9]\d{0,17}),')
_TIME = re.compile(rb'"time":"([0-9TZ:.+-]{1,40})"')
_EPOCH = re.compile(rb'"epoch":(\d{1,9})[,}]')


class Line(NamedTuple):
    """A line of the right shape; whether it is genuine is another question."""

    seq: int
    chain: str
    event: str
    mac: bytes
    text: bytes

    @property
    def body(self) -> bytes:
        """What the MAC covers."""
        return self.text[:-TAIL_BYTES]


def read_line(text: bytes) -> Line | None:
    """None where the bytes are no line of an audit."""
    found = _LINE.fullmatch(text)
    if found is None or text.find(_BEGIN, 1) > 0:  # the second: two that stand in one
        return None
    seq, chain, event, mac = found.groups()
    return Line(
        int(seq), chain.decode("ascii"), event.decode("ascii"), bytes.fromhex(mac.decode()), text
    )


def split_glued(text: bytes) -> tuple[bytes, Line] | None:
    """(what an interrupted write has left, the line that was written behind it)."""
    at = text.rfind(_BEGIN)
    line = read_line(text[at:]) if at > 0 else None
    return None if line is None else (text[:at], line)


def looks_unfinished(text: bytes) -> bool:
    """Whether this can be the beginning of a line whose rest was never written."""
    rest = text.strip(b"\0\n")
    return _BEGIN.startswith(rest) or _PART.fullmatch(rest) is not None


def claimed_seq(text: bytes) -> int | None:
    """The number at the beginning of what may be only a part of a line."""
    found = _CLAIMED_SEQ.match(text)
    return int(found[1]) if found else None


def claim_of(text: bytes) -> tuple[str, int] | None:
    """(chain, number) of what may be only a part of a line."""
    found = _CLAIM.match(text)
    return (found[2].decode("ascii"), int(found[1])) if found else None


def claimed_epoch(text: bytes) -> int | None:
    """The epoch that a "key" or "head" line names."""
    found = _EPOCH.search(text)
    return int(found[1]) if found else None


def time_of(text: bytes) -> str:
    """As it stands in the line; empty where none does."""
    found = _TIME.search(text)
    return found[1].decode("ascii") if found else ""
