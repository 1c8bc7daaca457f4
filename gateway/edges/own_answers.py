"""(Admission, Answer of slurmrestd) -> an Answer without the jobs of others."""

import asyncio

from gateway.denial import Denied, Reason
from gateway.edges.held_answer import HeldAnswer
from gateway.edges.upstream_answer import Answer
from gateway.model import Admission
from gateway.slurm_api.job_list import JobList, ListRefused, ListTooLarge
from gateway.slurm_api.job_owner import owner_of
from gateway.slurm_api.own_jobs import HOLDS, Hold
from gateway.stages.forward import with_length

_MOST_KEPT_BYTES = 33_554_432
_MOST_JOB_BYTES = 4_194_304
_SLICE_BYTES = 65_536
"""Some eight jobs of a new release: 2 ms."""
_FIRST_ERROR_STATUS = 400
_RULE = "authorize.roles.own_jobs_only"


async def only_own_jobs(admission: Admission, answer: Answer) -> Answer:
    """Whole, because its length is not known before its end; memory holds what is kept, and no more.

    Raises Denied: JOB_NOT_OWN for one job of somebody else's, LIST_TOO_LARGE, or UPSTREAM_INVALID
    for an answer whose jobs cannot be told apart.
    """
    hold = HOLDS[admission.call.operation.name]
    if hold not in (Hold.ANSWER, Hold.ONE) or not answer.head.length:
        return answer
    user = admission.user
    jobs = JobList(
        lambda job: owner_of(job).is_user(user.name, user.uid),
        most_bytes=_MOST_KEPT_BYTES,
        most_job_bytes=_MOST_JOB_BYTES,
    )
    try:
        whole = await _read(jobs, answer)
    except ListRefused as refused:
        if _is_plain_error(answer):
            return answer
        raise _unreadable(refused, answer) from None
    if hold is Hold.ONE and jobs.dropped:
        raise Denied(Reason.JOB_NOT_OWN, ", ".join(admission.call.job_ids), rule=_RULE)
    filtered = HeldAnswer(with_length(answer.head, len(whole)), whole)
    filtered.seconds = answer.seconds
    answer.close()
    return filtered


async def _read(jobs: JobList, answer: Answer) -> bytes:
    if answer.whole is not None:
        await _feed(jobs, answer.whole)
        return jobs.finish()
    while piece := await answer.read():
        await _feed(jobs, piece)
    return jobs.finish()


async def _feed(jobs: JobList, piece: bytes) -> None:
    """In slices, between which other requests are served."""
    for begin in range(0, len(piece), _SLICE_BYTES):
        jobs.feed(piece[begin : begin + _SLICE_BYTES])
        await asyncio.sleep(0)


def _is_plain_error(answer: Answer) -> bool:
    """slurmrestd says some errors in a line of plain text, in which no job can stand."""
    whole = answer.whole
    return answer.head.status >= _FIRST_ERROR_STATUS and whole is not None and b"{" not in whole


def _unreadable(refused: ListRefused, answer: Answer) -> Denied:
    if isinstance(refused, ListTooLarge):
        return Denied(Reason.LIST_TOO_LARGE, str(refused), rule=_RULE)
    note = f"filter: {refused}, with status {answer.head.status}"
    return Denied(Reason.UPSTREAM_INVALID, note, rule=_RULE)
