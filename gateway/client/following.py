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
        try:
            if records := _ended(last_runs(cluster, job_id)):
                return records
        except Trouble as trouble:
            if trouble.code is Exit.NOT_PERMITTED or trouble.is_no_address:
                raise _untold(job_id, trouble.sentence) from None
        if now() - began > patience.away_seconds:
            raise _untold(job_id, "It tells no end of it.")
        sleep(pause)
        pause = min(pause * _SLOWER, patience.most_seconds)


def ended_runs(cluster: Cluster, job_id: str) -> list[Record]:
    """Nothing unless all of it has ended, and where nobody tells."""
    try:
        return _ended(last_runs(cluster, job_id))
    except Trouble:
        return []


def _ended(records: list[Record]) -> list[Record]:
    return records if all(map(has_ended, records)) else []


def _untold(job_id: str, why: str) -> Trouble:
    return Trouble(
        Exit.UNDECIDED,
        f"Slurm knows no job {job_id} any more. Of the accounting: {why}",
        f"ask later or with another sign-in: slurm-gateway history -j {job_id}",
    )


def exit_code(jobs: list[Job]) -> int:
    """Of several, the worst. As sbatch --wait: the script's own code, and 1 where a signal or Slurm ended it."""
    codes = [
        job.exit_code or int(job.state != "COMPLETED" or bool(job.exit_signal)) for job in jobs
    ]
    return max(codes, default=Exit.REFUSED_BY_SLURM)
