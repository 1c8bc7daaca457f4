"""What somebody typed to choose jobs -> which of them are meant, as squeue, scancel and sacct choose."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gateway.client.arrays import is_named
from gateway.client.job import LONG, SHORT, Job
from gateway.client.trouble import Exit, Trouble, printable

_ID = re.compile(r"[1-9][0-9]{0,9}(?:_[0-9]{1,7}|\+[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Choice:
    """Filters that all have to fit; an empty one fits all."""

    users: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    """Name and number of the one user that is asked for too; of a release without names, the number fits."""
    states: frozenset[str] = frozenset()
    partitions: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    job_ids: frozenset[str] = frozenset()
    every_state: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing of which jobs are meant."""
        return not (
            self.users
            or self.own
            or self.states
            or self.partitions
            or self.accounts
            or self.names
            or self.job_ids
        )

    def fits(self, job: Job) -> bool:
        """Whether this job is meant."""
        return (
            self._fits_state(job)
            and _among(self.users | self.own, job.user, str(job.user_id))
            and _among(self.partitions, *job.partition.split(","))
            and _among(self.accounts, job.account)
            and _among(self.names, job.name)
            and (not self.job_ids or any(is_named(job, one) for one in self.job_ids))
        )

    def _fits_state(self, job: Job) -> bool:
        if self.states:
            return job.state in self.states or not self.states.isdisjoint(job.flags)
        return self.every_state or bool(self.job_ids) or job.is_listed


def _among(wanted: frozenset[str], *found: str) -> bool:
    return not wanted or not wanted.isdisjoint(found)


def chosen(jobs: Iterable[Job], choice: Choice) -> list[Job]:
    """Those that are meant, in squeue's order: by partition, state, priority and id.

    Slurm 20.11 gives the numbers of users and no names. Raises Trouble where a name was asked for there.
    """
    found = list(jobs)
    by_name = {user for user in choice.users if not user.isdigit()}
    if by_name and any(not job.user for job in found):
        raise Trouble(
            Exit.WRONG_CALL,
            "This release of Slurm gives the numbers of users and no names.",
            f"choose by number: --user {next(iter(found)).user_id}",
        )
    order = list(SHORT)

    def place(job: Job) -> tuple[str, int, int, int]:
        known = order.index(job.state) if job.state in order else len(order)
        return job.partition, known, -job.priority, job.job_id

    return sorted((job for job in found if choice.fits(job)), key=place)


def make_choice(
    *,
    users: str | None = None,
    states: str | None = None,
    partitions: str | None = None,
    accounts: str | None = None,
    names: str | None = None,
    job_ids: Sequence[str] = (),
) -> Choice:
    """Lists with commas, as typed. Raises Trouble for a state or an id that is none."""
    wanted = [word.upper() for word in _list(states)]
    return Choice(
        users=frozenset(_list(users)),
        states=frozenset(_state(word) for word in wanted if word != "ALL"),
        partitions=frozenset(_list(partitions)),
        accounts=frozenset(_list(accounts)),
        names=frozenset(_list(names)),
        job_ids=frozenset(check_id(one) for typed in job_ids for one in _list(typed)),
        every_state="ALL" in wanted,
    )


def check_id(typed: str) -> str:
    """A job's id: 4711, 4711_3 of an array, 4711+1 of a heterogeneous job. Raises Trouble."""
    if not _ID.fullmatch(typed):
        raise Trouble(
            Exit.WRONG_CALL,
            f"{printable(typed)!r} is no job id.",
            "write it as 4711, or 4711_3 for a task of an array",
        )
    return typed


def _list(typed: str | None) -> list[str]:
    return [word.strip() for word in (typed or "").split(",") if word.strip()]


def _state(word: str) -> str:
    if word in SHORT:
        return word
    if word in LONG:
        return LONG[word]
    raise Trouble(
        Exit.WRONG_CALL,
        f"{printable(word)!r} is no state of a job.",
        "use PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, … or their short forms, or all",
    )
