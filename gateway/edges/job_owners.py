"""(job id, credential) -> its owner, asked of slurmrestd with the caller's own credential and kept for a while."""

from collections import OrderedDict
from typing import Protocol

from gateway.edges.upstream_answer import Answer, UpstreamFailed, denied
from gateway.model import (
    Admission,
    AuthorizedCall,
    Clock,
    Grant,
    NoLease,
    Operation,
    Risk,
    UpstreamCredential,
)
from gateway.request.media_type import JSON
from gateway.slurm_api.job_list import JobList, ListRefused
from gateway.slurm_api.job_owner import NOBODY, Owner, owner_of

DESCRIBE = Operation(
    "GET", "/slurm/{version}/job/{job_id}", Risk.READ, changes_state=False, takes_body=False
)
_SECONDS = 30.0
"""A job never changes its owner, and ids come back after MaxJobId jobs only."""
_MOST_OWNERS = 8192
_MOST_BYTES = 4_194_304
_OK = 200


class Upstream(Protocol):
    """slurmrestd."""

    async def send(self, grant: Grant) -> Answer: ...


class SlurmJobOwners:
    """Owners by job id. Only what slurmctld said for certain is remembered."""

    def __init__(self, upstream: Upstream, monotonic: Clock) -> None:
        self._upstream = upstream
        self._monotonic = monotonic
        self._known: OrderedDict[str, tuple[float, Owner]] = OrderedDict()

    async def __call__(
        self, admission: Admission, job_id: str, credential: UpstreamCredential
    ) -> Owner:
        """NOBODY where slurmrestd describes no such job to this caller. Raises Denied."""
        known = self._known.get(job_id)
        if known is not None and known[0] > self._monotonic():
            return known[1]
        owner = await self._ask(admission, job_id, credential)
        if owner != NOBODY:
            self._known[job_id] = (self._monotonic() + _SECONDS, owner)
            self._known.move_to_end(job_id)
            if len(self._known) > _MOST_OWNERS:
                self._known.popitem(last=False)
        return owner

    async def _ask(
        self, admission: Admission, job_id: str, credential: UpstreamCredential
    ) -> Owner:
        version = admission.call.version
        target = f"/slurm/{version}/job/{job_id}".encode("ascii")
        call = AuthorizedCall(DESCRIBE, version, target, Risk.READ, admission.call.rule)
        request = admission.request._replace(accept=JSON, media_type="", length=0)
        asked = admission._replace(call=call, request=request)
        answer = await self._upstream.send(
            Grant(asked, None, credential, NoLease())  # the slot stays the request's
        )
        try:
            return await _first_owner(answer)
        except UpstreamFailed as failure:
            raise denied(failure, call) from failure
        finally:
            answer.close()


async def _first_owner(answer: Answer) -> Owner:
    """Of the first job: all tasks of an array and all components of a het job have one user."""
    if answer.head.status != _OK:
        return NOBODY
    found: list[Owner] = []

    def note(job: bytes) -> bool:
        found.append(owner_of(job))
        return False

    jobs = JobList(note, most_bytes=_MOST_BYTES, most_job_bytes=_MOST_BYTES)
    try:
        if answer.whole is not None:
            jobs.feed(answer.whole)
        while not found and not answer.is_over:
            jobs.feed(await answer.read())
    except ListRefused:
        return NOBODY
    return found[0] if found else NOBODY
