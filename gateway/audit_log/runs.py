"""Lines of one chain -> runs: as many lines as follow from each other, proved by their MACs.

An untouched chain is one run. Every edit, gap or displaced line ends a run, and the line after it begins
another; what that means is judged when all lines have been seen (`judging`). A line that follows from none
is loose. Nothing without the key can make a line that follows.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.audit_log.chain import Ladder, first_mac
from gateway.audit_log.lines import Line, claimed_epoch

_MOST_RUNS = 20_000
_MOST_TRIALS = 1_000_000
"""Keys that are tried in all to find the epoch again after a gap; each costs 5 µs."""
_NAMING = frozenset({"key", "head"})
_EAGER_LINES = 8
"""Loose lines in a row for which every possible epoch is tried. Later ones have to name theirs."""


class Place(NamedTuple):
    """A line of a file; the first is 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(slots=True, eq=False)
class Run:
    """Consecutive numbers. `epoch` is that of the line to come; None where no line is proved (loose).

    In a run that is not loose, each line but the first is proved by the one before it; `proved` tells
    about the first. `first` and `last` are whole lines.
    """

    index: int
    start: Place
    end: Place
    first: Line
    last: Line
    last_seq: int
    last_mac: bytes
    epoch: int | None
    proved: bool
    tentative: bool = False
    """The last line of a file, without its end: it may have been written again elsewhere."""
    mac_only: bool = False
    """Loose, but the next line proves all of it except for its own MAC."""

    @property
    def first_seq(self) -> int:
        """The number of its first line."""
        return self.first.seq

    @property
    def is_loose(self) -> bool:
        """Whether no line in it is known to be genuine."""
        return self.epoch is None


class _Repaired(NamedTuple):
    mac: bytes
    epoch: int
    run: Run


class TooManyRuns(Exception):
    """The chain is in so many pieces that going on would tell nothing more."""


@dataclass(slots=True)
class ChainRuns:
    """The runs of one chain. `add` is for one line at a time; a fast reader moves `current` on himself."""

    chain: str
    ladder: Ladder
    runs: list[Run] = field(default_factory=list)
    current: Run | None = None
    """What the last line went to."""
    _ends: dict[int, list[Run]] = field(default_factory=dict)
    _repaired: dict[int, _Repaired] = field(default_factory=dict)
    _furthest: tuple[int, int] = (0, 0)
    _trials: int = _MOST_TRIALS
    _in_a_row: int = 0

    def add(self, line: Line, place: Place, *, unended: bool = False) -> Run:
        """Put a line where it belongs; the run that the next line is likely to go on with.

        `unended`: it is the last of a file and lacks its end. Raises TooManyRuns.
        """
        if self.current is not None:
            self._park(self.current)
        found = self._follow(line)
        if found is None:
            self._in_a_row += 1
            self.current = self._leave_loose(line, place)
        else:
            self._in_a_row = 0
            self.current = self._continue(*found, line, place, unended=unended)
        return self.current

    def _park(self, run: Run) -> None:
        """Make its end one that any later line may follow."""
        here = self._ends.setdefault(run.last_seq, [])
        if run not in here:
            here.append(run)
        if run.epoch is not None and run.last_seq > self._furthest[0]:
            self._furthest = (run.last_seq, run.epoch)

    # what a line follows

    def _follow(self, line: Line) -> tuple[Run | None, int] | None:
        """(the run that it follows, the epoch of its key)."""
        if line.seq == 1 and self._fits(0, first_mac(self.chain), line):
            return None, 0
        for run in self._ends.get(line.seq - 1, ()):
            if run.last_seq != line.seq - 1:
                continue
            epoch = self._epoch_of(line, run)
            if epoch is not None:
                return (self._proved_end(run, epoch) if run.is_loose else run), epoch
        repaired = self._repaired.get(line.seq - 1)
        if repaired and self._fits(repaired.epoch, repaired.mac, line):
            repaired.run.mac_only = True
            return None, repaired.epoch
        return None

    def _epoch_of(self, line: Line, run: Run) -> int | None:
        epochs = [run.epoch] if run.epoch is not None else self._candidates(line, run)
        return next((one for one in epochs if self._fits(one, run.last_mac, line)), None)

    def _candidates(self, line: Line, run: Run) -> Iterator[int]:
        """Epochs that a line after a gap may belong to: what is said, what is likely, then all."""
        seq, epoch = self._furthest
        ahead = line.seq > seq
        likely = epoch if ahead else 0
        most = (epoch + min(line.seq - seq, self._trials)) if ahead else epoch
        for claim in {claimed_epoch(one.text) for one in (run.last, line) if one.event in _NAMING}:
            if claim is not None and 0 < claim <= most:
                yield from (claim, claim - 1)
        yield likely
        yield likely + 1
        if self._in_a_row > _EAGER_LINES:
            return
        for one in range(likely + 2, most + 1):
            self._trials -= 1
            yield one

    def _fits(self, epoch: int, previous: bytes, line: Line) -> bool:
        return self.ladder.fits(epoch, previous, line.body, line.mac)

    # what becomes of it

    def _proved_end(self, run: Run, epoch: int) -> Run:
        """The MAC of a loose run's last line is genuine, because the next line builds on it."""
        if run.first_seq == run.last_seq:
            run.epoch = epoch
            return run
        tail = self._begin(run.last, run.end, epoch=epoch, proved=False)
        tail.index = run.index
        run.last_seq, run.last_mac = run.last_seq - 1, b""
        if run is self.current:
            self.current = tail
        return tail

    def _continue(
        self, before: Run | None, epoch: int, line: Line, place: Place, *, unended: bool
    ) -> Run:
        after = epoch + (line.event == "key")
        if before is not None and before is self.current and not unended:
            before.last_seq, before.last_mac = line.seq, line.mac
            before.end, before.last, before.epoch = place, line, after
            return before
        run = self._begin(line, place, epoch=after, proved=True)
        if not unended:
            return run
        run.tentative = True
        self._park(run)
        return before or run  # the writer may have begun anew before this line, or gone on after it

    def _leave_loose(self, line: Line, place: Place) -> Run:
        current = self.current
        if current and current.is_loose and current.last_seq + 1 == line.seq:
            current.last_seq, current.last_mac = line.seq, line.mac
            current.end, current.last = place, line
            return current
        run = self._begin(line, place, epoch=None, proved=False)
        self._remember_repair(line, run)
        return run

    def _remember_repair(self, line: Line, run: Run) -> None:
        """The MAC that this line ought to have, should only its MAC have been changed."""
        if line.seq == 1:
            self._repair(line, run, 0, first_mac(self.chain))
        for before in self._ends.get(line.seq - 1, ()):
            if before.epoch is not None and before.last_seq == line.seq - 1:
                self._repair(line, run, before.epoch, before.last_mac)

    def _repair(self, line: Line, run: Run, epoch: int, previous: bytes) -> None:
        mac = self.ladder.key(epoch).mac(previous, line.body)
        self._repaired[line.seq] = _Repaired(mac, epoch + (line.event == "key"), run)

    def _begin(self, line: Line, place: Place, *, epoch: int | None, proved: bool) -> Run:
        if len(self.runs) >= _MOST_RUNS:
            raise TooManyRuns
        run = Run(
            len(self.runs), place, place, line, line, line.seq, line.mac, epoch, proved=proved
        )
        self.runs.append(run)
        return run
