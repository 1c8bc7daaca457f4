"""A job's id -> its states as they come, until it is over. Short breaks on the way are waited out."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gateway.client.accounting import has_ended, last_runs
from gateway.client.job import Job
from gateway.client.opening import Cluster
from gateway.client.record import Record
from gateway.client.runs.job import read_one
from gateway.client.trouble import Exit, Trouble

_SOON, _MOST = 1.0, 15.0
_SLOWER = 1.3


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to ask, and how long a gateway may be away."""

    first_seconds: float = _SOON
    most_seconds: float = _MOST
    away_seconds: float = 600.0


def follow(
    cluster: Cluster,
    job_id: str,
    patience: Patience,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[list[Job]]:
    """The job, or all of its tasks and components, each time it was asked for; the last time all are over.

    Raises Trouble: where the gateway was away for too long, where somebody has to sign in again, and
    where slurmctld forgot the job before its end was seen.
    """
    pause = patience.first_seconds
    heard = now()
    while True:
        try:
            jobs = read_one(cluster, job_id)
        except Trouble as trouble:
            if trouble.code is not Exit.UNAVAILABLE or now() - heard > patience.away_seconds:
                raise
        else:
            heard = now()
            yield jobs
            if all(job.is_over for job in jobs):
                return
        sleep(pause)
        pause = min(pause * _SLOWER, patience.most_seconds)


def look_up(
    cluster: Cluster,
    job_id: str,
    patience: Patience,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> list[Record]:
    """How a job that slurmctld has forgotten ended, as the accounting has it, which may hear of it late.

    Raises Trouble where it has no end of it for as long as a gateway may be away.
    """
    pause = patience.first_seconds
    began = now()
    while True:
        if records := ended_runs(cluster, job_id):
            return records
        if now() - began > patience.away_seconds:
            raise Trouble(
                Exit.UNDECIDED,
                f"Slurm knows no job {job_id} any more, and the accounting tells no end of it.",
                f"ask again later: slurm-gateway history -j {job_id}",
            )
        sleep(pause)
        pause = min(pause * _SLOWER, patience.most_seconds)


def ended_runs(cluster: Cluster, job_id: str) -> list[Record]:
    """Nothing unless all of it has ended, and while nobody tells. Raises Trouble where one may not ask."""
    try:
        records = last_runs(cluster, job_id)
    except Trouble as trouble:
        if trouble.code is not Exit.NOT_PERMITTED:
            return []
        sentence = f"Slurm knows no job {job_id} any more. Of the accounting: {trouble.sentence}"
        raise Trouble(trouble.code, sentence, trouble.remedy, problem=trouble.problem) from None
    return records if all(map(has_ended, records)) else []


def exit_code(jobs: list[Job]) -> int:
    """Of several, the worst. As sbatch --wait: the script's own code, and 1 where a signal or Slurm ended it."""
    codes = [
        job.exit_code or int(job.state != "COMPLETED" or bool(job.exit_signal)) for job in jobs
    ]
    return max(codes, default=Exit.REFUSED_BY_SLURM)
