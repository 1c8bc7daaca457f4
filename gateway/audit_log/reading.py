"""Files of the audit -> the runs of every chain in them, and whatever is no line, at the speed of the disk.

The fast path neither parses JSON nor looks for anything in a line: the MAC of an untouched line is the one
computed from the line before, and then its number is the next one, too.
"""

from binascii import hexlify
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gateway.audit_log.chain import Ladder
from gateway.audit_log.files import AuditFile, Blocks, Unreadable
from gateway.audit_log.lines import TAIL_BYTES, Line, read_line, split_glued
from gateway.audit_log.runs import ChainRuns, Place, Run, TooManyRuns

_KEY_EVENT = b'","event":"key",'
_EVENT_BEFORE = 96  # where the event of a line ends at the latest: 18 digits, 32 of the chain

Progress = Callable[[int], None]


@dataclass(slots=True)
class Scrap:
    """Bytes that are no line. `following` is the next line of the same chain."""

    place: Place
    text: bytes
    at_end_of_file: bool
    following: Line | None = None


@dataclass(slots=True)
class Stranger:
    """Lines of a chain whose key was not given."""

    place: Place
    first: Line
    lines: int = 0


@dataclass(slots=True)
class Reading:
    """All that was read. `wanted` numbers are remembered with their MACs, for heads kept elsewhere."""

    keys: Mapping[str, Ladder]
    wanted: frozenset[int]
    progress: Progress = lambda _: None
    chains: dict[str, ChainRuns] = field(default_factory=dict)
    strangers: dict[str, Stranger] = field(default_factory=dict)
    scraps: list[Scrap] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    macs: dict[tuple[str, int], set[bytes]] = field(default_factory=dict)
    gave_up: dict[str, Place] = field(default_factory=dict)
    line_count: int = 0
    byte_count: int = 0
    _now: ChainRuns | None = None
    _open_scraps: list[Scrap] = field(default_factory=list)

    def read(self, files: Iterable[AuditFile]) -> None:
        """Read each to its end, whatever is wrong with it."""
        for file in files:
            blocks = Blocks(file.path)
            count = before = 0
            try:
                for lines in blocks:
                    self._read_block(str(file.path), count, lines)
                    count += len(lines)
                    self.progress(blocks.consumed - before)
                    before = blocks.consumed
            except Unreadable as error:
                self.unreadable.append(error)

    def _read_block(self, file: str, count: int, lines: list[bytes]) -> None:
        """As many lines as possible on the fast path, one on the slow one, and so on."""
        self.line_count += len(lines)
        self.byte_count += sum(map(len, lines))
        done = 0
        while done < len(lines):
            run = self._now.current if self._now and not self._open_scraps else None
            if self._now is not None and run is not None and run.epoch is not None:
                done = self._follow(self._now, run, Place(file, count), lines, done)
                if done == len(lines):
                    return
            self._look_at(lines[done], Place(file, count + done + 1))
            done += 1

    def _follow(  # the hot loop: locals, and no calls but the hashing
        self, chain: ChainRuns, run: Run, base: Place, lines: list[bytes], start: int
    ) -> int:
        """Go on with a run; the index of the first line that does not follow."""
        wanted, epoch = self.wanted, run.epoch or 0
        key = chain.ladder.key(epoch)
        inner_of, outer_of = key.inner.copy, key.outer.copy
        seq, mac, index = run.last_seq, run.last_mac, start
        for index in range(start, len(lines)):
            line = lines[index]
            inner = inner_of()
            inner.update(mac + line[:-TAIL_BYTES])
            outer = outer_of()
            outer.update(inner.digest())
            found = outer.digest()[:16]
            if not line.endswith(b',"mac":"%b"}\n' % hexlify(found)):
                break
            seq += 1
            if not line.startswith(b'{"seq":%d,' % seq):
                seq -= 1
                break
            mac = found
            if seq in wanted:
                self.macs.setdefault((chain.chain, seq), set()).add(mac)
            if line.find(_KEY_EVENT, 0, _EVENT_BEFORE) > 0:
                epoch += 1
                key = chain.ladder.key(epoch)
                inner_of, outer_of = key.inner.copy, key.outer.copy
        else:
            index = len(lines)
        if index > start:
            _move(run, lines[index - 1], Place(base.file, base.line + index), (seq, mac, epoch))
        return index

    # the slow path

    def _look_at(self, text: bytes, place: Place) -> None:
        line = read_line(text)
        if line is not None:
            self._take(line, place)
        elif glued := split_glued(text):
            self._keep_scrap(Scrap(place, glued[0], at_end_of_file=False))
            self._take(glued[1], place)
        elif not text.endswith(b"\n") and (line := read_line(text + b"\n")):
            self._take(line, place, unended=True)
        else:
            self._keep_scrap(Scrap(place, text, at_end_of_file=not text.endswith(b"\n")))

    def _keep_scrap(self, scrap: Scrap) -> None:
        self.scraps.append(scrap)
        self._open_scraps.append(scrap)

    def _take(self, line: Line, place: Place, *, unended: bool = False) -> None:
        for scrap in self._open_scraps:
            scrap.following = line
        self._open_scraps.clear()
        ladder = self.keys.get(line.chain)
        if ladder is None:
            self._now = None
            self.strangers.setdefault(line.chain, Stranger(place, line)).lines += 1
            return
        chain = self.chains.setdefault(line.chain, ChainRuns(line.chain, ladder))
        if line.chain in self.gave_up:
            return
        try:
            run = chain.add(line, place, unended=unended)
        except TooManyRuns:
            self.gave_up[line.chain] = place
            chain.current = None
            return
        self._now = chain
        if run.epoch is not None and line.seq in self.wanted:
            self.macs.setdefault((line.chain, line.seq), set()).add(line.mac)


def _move(run: Run, last: bytes, place: Place, state: tuple[int, bytes, int]) -> None:
    """Write back what the hot loop has come to."""
    run.last_seq, run.last_mac, run.epoch = state
    run.end = place
    line = read_line(last)
    if line is not None:
        run.last = line
