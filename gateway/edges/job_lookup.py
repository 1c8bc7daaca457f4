"""(a grant that broke off, what its job would look like) -> whether Slurm has it, asked as the same user."""

import asyncio
from typing import Protocol

from gateway.denial import Denied
from gateway.edges.upstream_answer import Answer, UpstreamFailed
from gateway.model import AuthorizedCall, Grant, Identity, Lease, Operation, Risk
from gateway.slurm_api.job_list import ListUnreadable, Sighting, Sought, find_job

_OK = 200
_JOBS = Operation("GET", "/slurm/{version}/jobs", Risk.READ, False, False)


class LookupFailed(Exception):
    """Slurm did not tell. The text is for the audit."""


class Slots(Protocol):
    """A fair share of slurmrestd's few connections."""

    async def acquire(self, identity: Identity) -> Lease: ...


class Upstream(Protocol):
    """slurmrestd. Releases the grant's slot as soon as the answer is complete. Raises Denied."""

    async def send(self, grant: Grant) -> Answer: ...


class JobLookup(Protocol):
    """Raises LookupFailed where it cannot be known now."""

    async def __call__(self, grant: Grant, sought: Sought) -> Sighting: ...


class JobListLookup:
    """Reads the whole list of jobs; Slurm has no filter that would do. One list at a time is in memory."""

    def __init__(self, upstream: Upstream, slots: Slots, maximum_bytes: int) -> None:
        self._upstream = upstream
        self._slots = slots
        self._maximum_bytes = maximum_bytes
        self._one = asyncio.Lock()

    async def __call__(self, grant: Grant, sought: Sought) -> Sighting:
        """See JobLookup. The read begins after the call."""
        async with self._one:
            try:
                raw = await self._read(grant)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(None, find_job, raw, sought)
            except Denied as refusal:
                note = refusal.note or refusal.reason.code
                raise LookupFailed(f"the list of jobs cannot be read: {note}") from refusal
            except UpstreamFailed as failure:
                raise LookupFailed(f"the list of jobs broke off: {failure}") from failure
            except ListUnreadable as error:
                raise LookupFailed(f"the list of jobs cannot be used: {error}") from error

    async def _read(self, grant: Grant) -> bytes:
        slot = await self._slots.acquire(grant.admission.identity)
        try:
            answer = await self._upstream.send(_asking(grant, slot))
            try:
                if not await answer.read_all(self._maximum_bytes):
                    raise LookupFailed(f"the list of jobs has {answer.head.length} bytes")
                if answer.head.status != _OK:
                    raise LookupFailed(f"the list of jobs came with status {answer.head.status}")
                return answer.whole or b""
            finally:
                answer.close()
        finally:
            slot.release()


def _asking(grant: Grant, slot: Lease) -> Grant:
    """The same user's read of all jobs, in the same API version."""
    version = grant.admission.call.version
    call = AuthorizedCall(_JOBS, version, f"/slurm/{version}/jobs".encode(), Risk.READ_HEAVY, "")
    request = grant.admission.request._replace(accept="application/json", media_type="", length=0)
    admission = grant.admission._replace(call=call, request=request)
    return Grant(admission, None, grant.credential, slot)
