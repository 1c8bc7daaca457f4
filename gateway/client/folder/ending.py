"""A job's id -> how it ended, from slurmctld, or from the accounting where slurmctld has forgotten it."""

from dataclasses import dataclass

from gateway.client.following import exit_code
from gateway.client.job import LIVING, Job
from gateway.client.opening import Cluster
from gateway.client.record import Record, read_records
from gateway.client.refusals import is_gone
from gateway.client.runs.job import read_one
from gateway.client.trouble import Exit, Trouble

_NOT_KEPT = "The job is over; how it ended is not known: slurmctld forgot it, and the accounting has no end of it."


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of a job; of several tasks or components, the worst."""

    state: str
    exit_code: int | None
    jobs: tuple[Job, ...] = ()
    error: str = ""

    @property
    def is_good(self) -> bool:
        """COMPLETED, with 0, all of it."""
        return not self.error and self.exit_code == 0 and self.state == "COMPLETED"


def how_it_ended(cluster: Cluster, job_id: int) -> Ending | None:
    """None while it goes on. Raises Trouble, with Exit.UNAVAILABLE where it is to be asked again."""
    try:
        jobs = read_one(cluster, str(job_id))
    except Trouble as trouble:
        if is_gone(trouble):
            return _in_the_accounting(cluster, job_id)
        raise _passing(trouble) from None
    if not all(job.is_over for job in jobs):
        return None
    worst = max(jobs, key=lambda job: (exit_code([job]), job.state != "COMPLETED"))
    known = Ending(worst.state, exit_code(jobs), tuple(jobs))
    if known.is_good and any("_" in job.shown_id for job in jobs):
        return _with_forgotten_tasks(cluster, job_id, known)
    return known


def _with_forgotten_tasks(cluster: Cluster, job_id: int, known: Ending) -> Ending:
    """slurmctld forgets each task of an array by itself, maybe long before the last one ends."""
    try:
        records = _records(cluster, job_id)
    except Trouble:
        return known
    ended = [one for one in records if one.state not in LIVING]
    worst = max(ended, key=_code, default=None)
    if worst is None or not _code(worst):
        return known
    return Ending(worst.state, _code(worst), known.jobs)


def _in_the_accounting(cluster: Cluster, job_id: int) -> Ending:
    try:
        records = _records(cluster, job_id)
    except Trouble as trouble:
        if trouble.code is Exit.UNAVAILABLE:
            raise
        return Ending("UNKNOWN", None, error=_NOT_KEPT)
    if not records or any(one.state in LIVING for one in records):
        return Ending("UNKNOWN", None, error=_NOT_KEPT)
    worst = max(records, key=_code)
    return Ending(worst.state, _code(worst))


def _records(cluster: Cluster, job_id: int) -> list[Record]:
    """The job, or all of its tasks or components, without steps. Raises Trouble."""
    content = cluster.get_accounting(f"/job/{job_id}", {}).content
    return [read_records(one)[0] for one in content.get("jobs") or []]


def _code(record: Record) -> int:
    """As `watch` has it: the script's own, and 1 where a signal or Slurm ended it, or nobody kept it."""
    code, _, signal = record.exit_code.partition(":")
    number = int(code) if code.isdigit() else 0
    return number or int(record.state != "COMPLETED" or signal not in ("", "0"))


def _passing(trouble: Trouble) -> Trouble:
    """Of a job that was taken, slurmctld's other errors pass, and so do answers of strangers."""
    if trouble.code in (Exit.REFUSED_BY_SLURM, Exit.UNREADABLE_ANSWER):
        return Trouble(Exit.UNAVAILABLE, trouble.sentence, trouble.remedy, status=trouble.status)
    return trouble
