"""What clients heard, what the audit says, which jobs ran -> counts, and what must not have happened."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from soak.audit import Audited
from soak.ledger import Ledger

MEMORY_GROWTH = 1.1
UNRECORDABLE = frozenset({"audit-unavailable"})
"""Refused because nothing can be written: the one answer that no record can be demanded of."""


@dataclass(frozen=True)
class Findings:
    """One run. What the last five hold must not have happened."""

    requests_answered: int
    requests_unanswered: int
    acknowledged: int
    acknowledged_found: int
    refused_unrecorded: int
    submissions: int
    submissions_retried: int
    submissions_acknowledged: int
    jobs_run: int
    jobs_listed: int
    keys_unsettled: int
    memory_before_bytes: int
    memory_after_bytes: int
    statuses: tuple[tuple[str, int, int], ...]
    not_in_audit: tuple[str, ...]
    jobs_not_in_audit: tuple[str, ...]
    ran_twice: tuple[str, ...]
    broken_lines: int
    fault_of_chain: str

    def failures(self) -> list[str]:
        """One sentence for each promise that was broken; none is what is wanted."""
        said = []
        if self.not_in_audit:
            said.append(f"{len(self.not_in_audit)} acknowledged requests are not in the audit")
        if self.jobs_not_in_audit:
            said.append(f"{len(self.jobs_not_in_audit)} records do not name their job")
        if self.ran_twice:
            said.append(f"{len(self.ran_twice)} keys have more than one job")
        if self.broken_lines:
            said.append(f"{self.broken_lines} lines of the audit are no records")
        if self.fault_of_chain:
            said.append("audit verify finds the audit changed")
        if self.memory_after_bytes > self.memory_before_bytes * MEMORY_GROWTH:
            said.append(f"memory grew from {self.memory_before_bytes} to {self.memory_after_bytes}")
        if not (self.acknowledged and self.submissions_acknowledged and self.jobs_run):
            said.append("nothing was acknowledged, or no job ran: there was no load")
        return said


def jobs_run(folder: Path) -> dict[str, set[str]]:
    """Key -> the numbers of the jobs that wrote down that they ran."""
    return {path.name: set(path.read_text().split()) for path in folder.iterdir()}


def judge(
    ledger: Ledger,
    audited: Audited,
    ran: Mapping[str, set[str]],
    listed: Mapping[str, set[str]],
    *,
    memory: tuple[int, int],
    fault_of_chain: str,
) -> Findings:
    """Hold what was heard against the audit and the jobs, those that ran and those that Slurm lists."""
    jobs = {key: ran.get(key, set()) | listed.get(key, set()) for key in ledger.keys}
    recordable = [one for one in ledger.heard if one.code not in UNRECORDABLE]
    missing = [one for one in recordable if one.request_id not in audited.jobs]
    unnamed = [
        one
        for one in recordable
        if one.job_id and str(one.job_id) not in audited.jobs.get(one.request_id, set())
    ]
    return Findings(
        requests_answered=len(ledger.heard),
        requests_unanswered=ledger.unheard,
        acknowledged=len(recordable),
        acknowledged_found=len(recordable) - len(missing),
        refused_unrecorded=len(ledger.heard) - len(recordable),
        submissions=len(ledger.keys),
        submissions_retried=len(ledger.retried),
        submissions_acknowledged=sum(job is not None for job in ledger.keys.values()),
        jobs_run=sum(map(len, ran.values())),
        jobs_listed=sum(len(listed.get(key, ())) for key in ledger.keys),
        keys_unsettled=sum(job is None for job in ledger.keys.values()),
        memory_before_bytes=memory[0],
        memory_after_bytes=memory[1],
        statuses=tuple(ledger.statuses()),
        not_in_audit=tuple(
            f"{one.request_id} ({one.kind} {one.status} {one.code})" for one in missing
        ),
        jobs_not_in_audit=tuple(f"{one.request_id} (job {one.job_id})" for one in unnamed),
        ran_twice=tuple(
            f"{key}: {', '.join(sorted(ids))}" for key, ids in jobs.items() if len(ids) > 1
        ),
        broken_lines=audited.broken_lines,
        fault_of_chain=fault_of_chain,
    )
