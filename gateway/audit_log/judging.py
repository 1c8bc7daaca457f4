"""The runs of one chain -> what was changed, taken out, put in or moved."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from gateway.audit_log.findings import ChainVerdict, Finding, Kind, numbers
from gateway.audit_log.lines import time_of
from gateway.audit_log.runs import ChainRuns, Run


def judge(chain: ChainRuns, *, from_start: bool = False) -> ChainVerdict:
    """Findings in the order of the numbers. `from_start`: line 1 ought to be there."""
    verdict = ChainVerdict(chain.chain)
    runs = _prove_late(chain)
    proved = sorted(
        (run for run in runs if not run.is_loose), key=lambda run: (run.first_seq, -run.last_seq)
    )
    loose = sorted((run for run in runs if run.is_loose), key=lambda run: run.first_seq)
    if proved:
        _Walk(verdict, loose, begins_at=1 if from_start else _beginning(proved, loose)).walk(proved)
        _summarise(verdict, proved)
    else:
        _nothing_fits(verdict, loose)
    return verdict


def _prove_late(chain: ChainRuns) -> list[Run]:
    """Prove first lines by lines that came later in the files, in the order of their numbers."""
    runs = sorted(chain.runs, key=lambda run: run.first_seq)
    ends: dict[int, list[Run]] = {}
    for run in runs:
        ends.setdefault(run.last_seq, []).append(run)
    for run in runs:
        if run.proved or (run.is_loose and run.first_seq != run.last_seq):
            continue
        line = run.first
        for before in ends.get(run.first_seq - 1, ()):
            epoch = before.epoch
            if epoch is not None and chain.ladder.fits(epoch, before.last_mac, line.body, line.mac):
                run.proved = True
                if run.is_loose:
                    run.epoch = epoch + (line.event == "key")
                break
    if len(runs) == 1 and runs[0].first_seq == runs[0].last_seq > 1:
        runs[0].epoch = 0  # nothing speaks against a line that stands alone
    return runs


def _beginning(proved: Sequence[Run], loose: Iterable[Run]) -> int:
    """The first number that ought to be there: 1 where a line claims it, else the first given."""
    first = proved[0].first_seq
    return 1 if any(run.first_seq == 1 for run in loose) else first


def _nothing_fits(verdict: ChainVerdict, loose: Sequence[Run]) -> None:
    for run in loose:
        verdict.add(Kind.CHANGED, run, "does not fit the key; is it another chain's?")
    verdict.lines = sum(run.last_seq - run.first_seq + 1 for run in loose)


def _summarise(verdict: ChainVerdict, proved: Sequence[Run]) -> None:
    first, last = proved[0], max(proved, key=lambda run: run.last_seq)
    verdict.lines = sum(run.last_seq - run.first_seq + 1 for run in proved)
    verdict.first_seq, verdict.last_seq = first.first_seq, last.last_seq
    verdict.first_time, verdict.last_time = time_of(first.first.text), time_of(last.last.text)
    verdict.last_mac = last.last_mac
    verdict.findings.sort(key=lambda finding: finding.first_seq)


class _Walk:
    """Goes along the numbers and says what is not as it was written."""

    def __init__(self, verdict: ChainVerdict, loose: list[Run], *, begins_at: int) -> None:
        self._verdict = verdict
        self._loose = deque(loose)
        self._reach = begins_at - 1
        self._before: Run | None = None
        self._highest = -1

    def walk(self, proved: Sequence[Run]) -> None:
        for run in proved:
            if run.last_seq <= self._reach:
                self._repeats(run)
            else:
                self._goes_on(run)
        for run in self._loose:
            self._verdict.add(Kind.INSERTED, run, _inserted(run, self._reach))

    def _repeats(self, run: Run) -> None:
        if run.tentative:
            self._verdict.remarks.append(
                f"{run.end}: the unfinished {numbers(run.first_seq, run.last_seq)} was written again"
            )
        else:
            self._verdict.add(Kind.REPEATED, run, "repeated; it stands in the files already")

    def _goes_on(self, run: Run) -> None:
        gap = (self._reach + 1, run.first_seq - 1)
        self._settle_loose()
        if gap[0] <= gap[1]:
            self._fill(*gap, run)
        elif gap[0] > gap[1] + 1:
            self._verdict.add(
                Kind.REPEATED,
                run,
                f"repeated up to line {self._reach}; was the gateway's state set back?",
            )
        elif not run.proved and self._before is not None:
            self._verdict.findings.append(_one_line(run, Kind.CHANGED, "changed", self._verdict))
        if not run.proved and gap[0] > gap[1] and self._before is None:
            self._first_of_all(run)
        if run.tentative:
            self._verdict.remarks.append(
                f"{run.end}: line {run.last_seq} lacks the end of its line"
            )
        self._place(run)
        self._reach, self._before = run.last_seq, run

    def _first_of_all(self, run: Run) -> None:
        if run.first_seq == 1:
            self._verdict.findings.append(_one_line(run, Kind.CHANGED, "changed", self._verdict))
        else:
            self._verdict.remarks.append(
                f"{run.start}: line {run.first_seq} is the first given, and what it says"
                " cannot be checked without the line before it"
            )

    def _place(self, run: Run) -> None:
        """Numbers that go up while the place in the files goes back."""
        if run.index < self._highest and self._before is not None:
            text = (
                f"moved; it stands before {self._before.end}, which is line {self._before.last_seq}"
            )
            self._verdict.add(Kind.MOVED, run, text)
        self._highest = max(self._highest, run.index)

    def _loose_up_to(self, last: int) -> Iterator[Run]:
        """The loose runs that begin at this number at the latest, each once."""
        while self._loose and self._loose[0].first_seq <= last:
            yield self._loose.popleft()

    def _settle_loose(self) -> None:
        """Loose lines whose numbers are taken by genuine ones were put in."""
        for run in self._loose_up_to(self._reach):
            self._verdict.add(Kind.INSERTED, run, _inserted(run, self._reach))

    def _fill(self, first: int, last: int, after: Run) -> None:
        """A gap: some of it changed lines, some of it not there at all."""
        doubt = "" if after.proved else f"; line {after.first_seq} cannot be checked for it"
        for run in self._loose_up_to(last):
            if run.first_seq > first:
                self._missing(first, run.first_seq - 1, after, doubt)
            if run.first_seq < first:
                self._verdict.add(Kind.INSERTED, run, _inserted(run, last))
            elif run.mac_only:
                self._verdict.add(
                    Kind.MAC_CHANGED, run, "only its MAC changed, what it says is genuine"
                )
            else:
                self._verdict.add(Kind.CHANGED, run, f"changed{doubt}")
            first = max(first, run.last_seq + 1)
        if first <= last:
            self._missing(first, last, after, doubt)

    def _missing(self, first: int, last: int, after: Run, doubt: str) -> None:
        text = f"missing{doubt}"
        found = Finding(
            Kind.MISSING,
            self._verdict.chain,
            first,
            last,
            after.start,
            time_of(after.first.text),
            text,
        )
        self._verdict.findings.append(found)


def _inserted(run: Run, reach: int) -> str:
    if run.first_seq > reach:
        return f"put in or changed; it follows from no genuine line, of which the last is {reach}"
    return "put in; the genuine line of this number is elsewhere"


def _one_line(run: Run, kind: Kind, text: str, verdict: ChainVerdict) -> Finding:
    return Finding(
        kind,
        verdict.chain,
        run.first_seq,
        run.first_seq,
        run.start,
        time_of(run.first.text),
        text,
    )
