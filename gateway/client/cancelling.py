"""The records that fit, and the ids that were typed -> what has to stand in DELETE /job/{job_id}, and nothing more.

Slurm takes the number of an array for all of its tasks (measured on 22.05 and newer), also for those that run while
the record that was chosen has those that wait.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gateway.client.arrays import is_whole, may_have, own_task, waiting_tasks, whole_id
from gateway.client.job import Job
from gateway.client.trouble import Exit, Trouble


@dataclass(frozen=True, slots=True)
class Pick:
    """A record, or some tasks of those that share it."""

    job: Job
    tasks: frozenset[int] | None = None
    """None for all of it."""


def can_be_cancelled(job: Job) -> bool:
    """Not what is over, and not what ends already."""
    return not job.is_over and "COMPLETING" not in (job.state, *job.flags)


def picked(typed: Sequence[str], jobs: Sequence[Job]) -> tuple[list[Pick], list[str]]:
    """What the ids mean among these, and the ids that mean nothing there."""
    whole: dict[str, Job] = {}
    tasks: dict[str, set[int]] = {}
    unmet = []
    for one in dict.fromkeys(typed):
        all_of = [job for job in jobs if is_whole(job, one)]
        part_of = [job for job in jobs if not all_of and may_have(job, one)]
        whole |= {job.shown_id: job for job in all_of}
        for job in part_of:
            tasks.setdefault(job.shown_id, set()).add(int(one.partition("_")[2]))
        if not all_of and not part_of:
            unmet.append(one)
    picks = [
        Pick(job, None if job.shown_id in whole else frozenset(tasks[job.shown_id]))
        for job in jobs
        if job.shown_id in whole or job.shown_id in tasks
    ]
    return picks, unmet


def targets(picks: Sequence[Pick], living: Iterable[Job], *, takes_tasks: bool) -> list[str]:
    """What is sent, once each. An array's own number only where all of it that lives was chosen.

    v0.0.36 takes numbers alone. Slurm 20.11 means the one record by them, and 22.05 all of an array.
    Raises Trouble where there is no id for what was chosen.
    """
    whole = _whole_arrays(picks, living)
    leaders = {pick.job.job_id for pick in picks}
    found: list[str] = []
    for pick in picks:
        number = whole_id(pick.job.shown_id)
        if "_" not in pick.job.shown_id:
            is_led = number != str(pick.job.job_id) and int(number) in leaders
            found += [] if is_led and takes_tasks else [str(pick.job.job_id)]
        elif number in whole:
            found += [number] if takes_tasks else [number, str(pick.job.job_id)]
        elif takes_tasks:
            found += _tasks(pick, number)
        else:
            found.append(_own_number(pick, number))
    return list(dict.fromkeys(found))


def _whole_arrays(picks: Iterable[Pick], living: Iterable[Job]) -> set[str]:
    """Those of more than one task, with all of their records among the picks."""
    all_of = {pick.job.shown_id for pick in picks if pick.tasks is None}
    records: dict[str, list[Job]] = {}
    for job in living:
        if "_" in job.shown_id:
            records.setdefault(whole_id(job.shown_id), []).append(job)
    return {array for array, jobs in records.items() if all(job.shown_id in all_of for job in jobs)}


def _tasks(pick: Pick, array: str) -> Iterator[str]:
    own = own_task(pick.job)
    if own is not None:
        return iter((f"{array}_{own}",))
    chosen = sorted(pick.tasks) if pick.tasks is not None else waiting_tasks(pick.job.shown_id)
    return (f"{array}_{task}" for task in chosen or ())


def _own_number(pick: Pick, array: str) -> str:
    if pick.tasks is None and own_task(pick.job) is not None and str(pick.job.job_id) != array:
        return str(pick.job.job_id)
    raise Trouble(
        Exit.REFUSED_BY_SLURM,
        f"v0.0.36 has no id for a part of the array {array} that waits, or that has the array's own number.",
        f"cancel all of it with: slurm-gateway cancel {array}; or name a newer API version",
    )
