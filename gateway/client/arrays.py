"""4711, 4711_3, 4711_[2-10:2%4] and 4711+1, as typed and as shown -> which records and which tasks are meant."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from gateway.client.job import Job
from gateway.client.trouble import Exit, Trouble, printable

_WAITING = re.compile(r"([0-9]+)_\[(.*)\]")
_RANGE = re.compile(r"([0-9]{1,7})(?:-([0-9]{1,7})(?::([1-9][0-9]{0,6}))?)?")
"""MaxArraySize is at most 4000001."""


@dataclass(frozen=True, slots=True)
class Tasks:
    """Those of an array that share one record, because they have not begun."""

    array: str
    ranges: tuple[range, ...]

    def __contains__(self, task: int) -> bool:
        return any(task in one for one in self.ranges)

    def __iter__(self) -> Iterator[int]:
        return chain.from_iterable(self.ranges)


def waiting_tasks(shown_id: str) -> Tasks | None:
    """2, 4, 6 of 8_[2-6:2%1]; None where the record is no such.

    Raises Trouble where slurmctld has cut the text off, which it does after 64 letters (measured).
    """
    found = _WAITING.fullmatch(shown_id)
    if found is None:
        return None
    array, listed = found[1], found[2].partition("%")[0]
    return Tasks(array, tuple(_range(one, shown_id) for one in listed.split(",")))


def _range(text: str, shown_id: str) -> range:
    found = _RANGE.fullmatch(text)
    if found is None:
        raise Trouble(
            Exit.REFUSED_BY_SLURM,
            f"Slurm does not say all tasks of {printable(shown_id)}.",
            "name the whole array, or a task of it as 4711_3",
        )
    first, last, step = int(found[1]), int(found[2] or found[1]), int(found[3] or 1)
    return range(first, last + 1, step)


def whole_id(shown_id: str) -> str:
    """8 of 8_3 and 8_[2-10], 5 of 5+1."""
    return re.split(r"[_+]", shown_id)[0]


def own_task(job: Job) -> int | None:
    """3 of 8_3, which has a record of its own."""
    _, _, task = job.shown_id.partition("_")
    return int(task) if task.isdigit() else None


def is_cut(shown_id: str) -> bool:
    """Whether nobody tells which tasks these are."""
    try:
        waiting_tasks(shown_id)
    except Trouble:
        return True
    return False


def is_named(job: Job, typed: str) -> bool:
    """Whether it is this record, one of its array or heterogeneous job, or may have the task that was typed."""
    return is_whole(job, typed) or may_have(job, typed)


def is_whole(job: Job, typed: str) -> bool:
    """Whether all of the record is meant: by an id of its own, or by that of its array or heterogeneous job."""
    return typed in (str(job.job_id), job.shown_id, whole_id(job.shown_id))


def may_have(job: Job, typed: str) -> bool:
    """Whether the task that was typed is one of those that share this record, or nobody tells."""
    array, _, task = typed.partition("_")
    if not task or not job.shown_id.startswith(f"{array}_["):
        return False
    if is_cut(job.shown_id):
        return True
    tasks = waiting_tasks(job.shown_id)
    return tasks is not None and int(task) in tasks
