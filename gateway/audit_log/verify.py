"""(files, initial keys, heads kept elsewhere) -> a verdict: what was done to the lines, and what is not known."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from gateway.audit_log.chain import Ladder
from gateway.audit_log.files import AuditFile, Blocks, Unreadable, in_order, look_into
from gateway.audit_log.findings import ChainVerdict, Finding, Kind
from gateway.audit_log.heads import Head
from gateway.audit_log.judging import judge
from gateway.audit_log.lines import RESUMED, claimed_seq, looks_unfinished, time_of
from gateway.audit_log.reading import Progress, Reading, Scrap


@dataclass(slots=True)
class Verdict:
    """Of all files together. Findings that belong to no chain stand here."""

    chains: list[ChainVerdict] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    uncheckable: list[str] = field(default_factory=list)
    files: int = 0
    line_count: int = 0
    byte_count: int = 0

    @property
    def all_findings(self) -> list[Finding]:
        """Chain by chain."""
        return [*(one for chain in self.chains for one in chain.findings), *self.findings]

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found and everything could be read."""
        return not self.all_findings and not self.unreadable


def verify(
    paths: Sequence[Path],
    keys: Mapping[str, bytes],
    heads: Sequence[Head] = (),
    progress: Progress = lambda _: None,
    *,
    from_start: bool = False,
) -> Verdict:
    """Read all files once. `keys` are the initial keys by the chain's id; `progress` gets bytes read.

    `from_start`: every chain ought to begin with its line 1.
    """
    files, unreadable = look_into(paths)
    wanted = frozenset(seq for head in heads for seq in (head.seq, head.seq - 1))
    reading = Reading({chain: Ladder(key) for chain, key in keys.items()}, wanted, progress)
    reading.read(in_order(files))
    verdict = Verdict(
        chains=[judge(chain, from_start=from_start) for chain in reading.chains.values()],
        unreadable=[*unreadable, *reading.unreadable],
        files=len(files),
        line_count=reading.line_count,
        byte_count=reading.byte_count,
    )
    _strangers(reading, verdict)
    for scrap in reading.scraps:
        _judge_scrap(scrap, verdict)
    _remember_firsts(reading)
    for head in heads:
        _hold_against(head, reading, verdict)
    for file in files:
        _compare_twin(file, verdict)
    verdict.remarks += [
        f"chain {chain}: no line in these files" for chain in keys if chain not in reading.chains
    ]
    return verdict


def _strangers(reading: Reading, verdict: Verdict) -> None:
    for chain, stranger in reading.strangers.items():
        text = f"{stranger.lines} lines belong to a chain whose key was not given"
        first, time = stranger.first, time_of(stranger.first.text)
        verdict.findings.append(
            Finding(Kind.UNKNOWN_CHAIN, chain, first.seq, first.seq, stranger.place, time, text)
        )
    for chain, place in reading.gave_up.items():
        text = "the chain is in too many pieces; what comes after was not checked"
        verdict.findings.append(Finding(Kind.GAVE_UP, chain, 0, 0, place, "", text))


def _judge_scrap(scrap: Scrap, verdict: Verdict) -> None:
    """What a crash has left is told apart: the chain goes on behind it, with the number it began with."""
    following, seq = scrap.following, claimed_seq(scrap.text)
    resumed = following is None or scrap.at_end_of_file or following.event in RESUMED
    fits = seq is None or following is None or following.seq == seq
    if looks_unfinished(scrap.text) and resumed and fits and (following or scrap.at_end_of_file):
        state = "the chain goes on behind it" if following else "a crash, or it is being written"
        verdict.remarks.append(f"{scrap.place}: an unfinished line ({state})")
        return
    shown = ascii(scrap.text[:40].decode("utf-8", "replace"))
    text = f"no line of an audit: {shown}"
    verdict.findings.append(
        Finding(Kind.NO_LINE, "", seq or 0, seq or 0, scrap.place, time_of(scrap.text), text)
    )


def _hold_against(head: Head, reading: Reading, verdict: Verdict) -> None:
    """A head vouches for its own line, or, copied from the line "head", for the line before it."""
    chains = [one for one in verdict.chains if head.chain in ("", one.chain)]
    for chain in chains:
        if chain.last_seq >= head.seq and head.mac in _macs_of(reading, chain.chain, head.seq):
            chain.heads_found.append(str(head))
            chain.last_head = max(chain.last_head, head.seq)
            return
    if len(chains) != 1:
        text = f"head {head} kept elsewhere is in none of {len(chains)} chains"
        verdict.findings.append(
            Finding(Kind.HEAD_DIFFERS, head.chain, head.seq, head.seq, None, "", text)
        )
        return
    _missed(head, chains[0], verdict)


def _missed(head: Head, chain: ChainVerdict, verdict: Verdict) -> None:
    if chain.first_seq and head.seq < chain.first_seq:
        verdict.uncheckable.append(f"head {head}: it lies before the first line given")
        return
    if head.seq > chain.last_seq:
        kind, first = Kind.CUT_OFF, chain.last_seq + 1
        text = f"cut off; head {head}, kept elsewhere, proves that there was more"
    else:
        kind, first = Kind.HEAD_DIFFERS, head.seq
        text = f"not what head {head}, kept elsewhere, vouches for"
    chain.findings.append(Finding(kind, chain.chain, first, head.seq, None, chain.last_time, text))


def _macs_of(reading: Reading, chain: str, seq: int) -> set[bytes]:
    """The genuine MACs of a line and of the one before it."""
    return reading.macs.get((chain, seq), set()) | reading.macs.get((chain, seq - 1), set())


def _remember_firsts(reading: Reading) -> None:
    """The MAC of a run's first line is genuine, too, as soon as a later line builds on it."""
    for chain in reading.chains.values():
        for run in chain.runs:
            if not run.is_loose and run.first_seq in reading.wanted:
                found = reading.macs.setdefault((chain.chain, run.first_seq), set())
                found.add(run.first.mac)


def _compare_twin(file: AuditFile, verdict: Verdict) -> None:
    """A compressed copy beside its original: the same, or not finished yet."""
    if file.twin is None:
        return
    try:
        same = hmac.compare_digest(_digest(file.path), _digest(file.twin))
    except Unreadable as error:
        verdict.remarks.append(f"{error.path}: {error.why}; the file itself was verified instead")
        return
    if same:
        verdict.remarks.append(f"{file.twin} holds the same as {file.path}")
        return
    text = f"differs from {file.path}, of which it is the compressed copy"
    verdict.findings.append(Finding(Kind.COPY_DIFFERS, "", 0, 0, None, "", f"{file.twin} {text}"))


def _digest(path: Path) -> bytes:
    state = sha256()
    for lines in Blocks(path):
        for line in lines:
            state.update(line)
    return state.digest()
