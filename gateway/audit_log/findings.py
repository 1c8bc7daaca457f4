"""What a verification tells: findings, with their place, and what it cannot know."""

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.audit_log.lines import time_of
from gateway.audit_log.runs import Place, Run


class Kind(StrEnum):
    """What was done to the lines, as far as the lines can tell."""

    CHANGED = "changed"
    MAC_CHANGED = "mac-changed"
    MISSING = "missing"
    INSERTED = "inserted"
    REPEATED = "repeated"
    MOVED = "moved"
    NO_LINE = "no-line"
    CUT_OFF = "cut-off"
    HEAD_DIFFERS = "head-differs"
    UNKNOWN_CHAIN = "unknown-chain"
    GAVE_UP = "gave-up"
    COPY_DIFFERS = "copy-differs"


@dataclass(frozen=True, slots=True)
class Finding:
    """Tampering, or damage that cannot be told from it. Numbers are 0 where there are none."""

    kind: Kind
    chain: str
    first_seq: int
    last_seq: int
    place: Place | None
    time: str
    text: str

    def as_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "kind": self.kind.value,
            "chain": self.chain,
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
            "file": self.place.file if self.place else "",
            "line": self.place.line if self.place else 0,
            "time": self.time,
            "text": self.text,
        }


@dataclass(slots=True)
class ChainVerdict:
    """One chain: what was read of it, what is wrong, what is worth a remark, what is not known."""

    chain: str
    lines: int = 0
    first_seq: int = 0
    last_seq: int = 0
    last_mac: bytes = b""
    first_time: str = ""
    last_time: str = ""
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    heads_found: list[str] = field(default_factory=list)
    last_head: int = 0
    """The highest number that a kept head vouches for; 0 where none does."""

    def add(self, kind: Kind, run: Run, text: str) -> None:
        """A finding about a run of lines, at its first."""
        found = Finding(
            kind, self.chain, run.first_seq, run.last_seq, run.start, time_of(run.first.text), text
        )
        self.findings.append(found)


def numbers(first: int, last: int) -> str:
    """Line 7, or lines 7 to 9."""
    return f"line {first}" if first == last else f"lines {first} to {last}"
