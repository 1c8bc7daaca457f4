"""A job's id -> how it ended, from slurmctld, or from the accounting where slurmctld has forgotten it."""

from dataclasses import dataclass

from gateway.client.accounting import code_of, has_ended, last_runs, worst_of
from gateway.client.following import exit_code
from gateway.client.job import Job
from gateway.client.opening import Cluster
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


class Silence(Trouble):
    """The accounting does not say it now, and maybe never will."""

    def __init__(self, sentence: str, otherwise: Ending) -> None:
        super().__init__(Exit.UNAVAILABLE, sentence)
        self.otherwise = otherwise
        """What is known without it."""


def how_it_ended(cluster: Cluster, job_id: int) -> Ending | None:
    """None while it goes on. Raises Trouble, with Exit.UNAVAILABLE where it is to be asked again.

    Silence is asked again for some time: a slurmdbd that is late or away is told later.
    """
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
    """slurmctld forgets each task of an array by itself, maybe long before the last one ends.

    Of those that it has, its own word counts: the accounting may be late.
    """
    shown = {job.shown_id for job in known.jobs}
    try:
        records = last_runs(cluster, str(job_id))
    except Trouble as trouble:
        if trouble.code is not Exit.UNAVAILABLE:
            return known
        raise _silence(trouble, known) from None
    worst = worst_of(one for one in records if has_ended(one) and one.shown_id not in shown)
    if worst is None or not code_of(worst):
        return known
    return Ending(worst.state, code_of(worst), known.jobs)


def _in_the_accounting(cluster: Cluster, job_id: int) -> Ending:
    not_kept = Ending("UNKNOWN", None, error=_NOT_KEPT)
    try:
        records = last_runs(cluster, str(job_id))
    except Trouble as trouble:
        if trouble.code is not Exit.UNAVAILABLE:
            return not_kept
        raise _silence(trouble, not_kept) from None
    worst = worst_of(records)
    if worst is None or not all(map(has_ended, records)):
        raise Silence("The accounting has no end of it yet.", not_kept)
    return Ending(worst.state, code_of(worst))


def _silence(trouble: Trouble, otherwise: Ending) -> Trouble:
    """What Slurm says of its accounting may be so for ever; a gateway comes back."""
    is_slurms = trouble.status and not trouble.problem and not trouble.is_strangers
    return Silence(trouble.sentence, otherwise) if is_slurms else trouble


def _passing(trouble: Trouble) -> Trouble:
    """Of a job that was taken, slurmctld's other errors pass, and so do answers of strangers.

    An API version that is gone does not come back.
    """
    if trouble.is_no_address:
        return trouble
    if trouble.code in (Exit.REFUSED_BY_SLURM, Exit.UNREADABLE_ANSWER):
        return Trouble(Exit.UNAVAILABLE, trouble.sentence, trouble.remedy, status=trouble.status)
    return trouble
