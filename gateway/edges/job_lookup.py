"""(a grant that broke off, what its job would look like) -> whether Slurm has it, asked as the same user."""

import asyncio
from time import monotonic
from typing import NamedTuple, Protocol

from gateway.denial import Denied
from gateway.edges.upstream_answer import Answer, UpstreamFailed
from gateway.model import AuthorizedCall, Grant, Identity, Lease, Operation, Risk
from gateway.slurm_api.marked_job import ListUnreadable, Sighting, Sought, find_job

_OK = 200
_JOBS = Operation("GET", "/slurm/{version}/jobs", Risk.READ, False, False)
_DIAG = Operation("GET", "/slurm/{version}/diag", Risk.READ, False, False)


class LookupFailed(Exception):
    """Slurm did not tell. The text is for the audit."""


class Slots(Protocol):
    """A fair share of slurmrestd's few connections."""

    async def acquire(self, identity: Identity) -> Lease: ...


class Upstream(Protocol):
    """slurmrestd. Releases the grant's slot as soon as the answer is complete. Raises Denied."""

    async def send(self, grant: Grant) -> Answer: ...


class JobLookup(Protocol):
    """Asks slurmctld as the same user. Raises LookupFailed where it does not answer for real."""

    async def __call__(self, grant: Grant, sought: Sought) -> Sighting:
        """What slurmctld has now. The read begins after the call."""
        ...

    async def pulse(self, grant: Grant) -> None:
        """One cheap answer of slurmctld."""
        ...


class _Kept(NamedTuple):
    """A list while others still wait for one."""

    whose: tuple[str, str]
    begun: float
    raw: bytes


class JobListLookup:
    """Reads the whole list of jobs; Slurm has no filter that would do. One list at a time is in memory."""

    def __init__(self, upstream: Upstream, slots: Slots, maximum_bytes: int) -> None:
        self._upstream = upstream
        self._slots = slots
        self._maximum_bytes = maximum_bytes
        self._one = asyncio.Lock()
        self._wanted = 0
        self._kept: _Kept | None = None

    async def __call__(self, grant: Grant, sought: Sought) -> Sighting:
        """See JobLookup."""
        called = monotonic()
        self._wanted += 1
        try:
            async with self._one:
                raw = await self._list(grant, called)
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(None, find_job, raw, sought)
        except ListUnreadable as error:
            raise LookupFailed(f"the list of jobs cannot be used: {error}") from error
        finally:
            self._wanted -= 1
            if not self._wanted:
                self._kept = None

    async def _list(self, grant: Grant, called: float) -> bytes:
        """Where many of one user wait after a restart, one read that began after their calls serves all."""
        whose = (grant.credential.user, grant.admission.call.version)
        kept = self._kept
        if kept is None or kept.whose != whose or kept.begun < called:
            begun = monotonic()
            self._kept = None
            kept = _Kept(whose, begun, await self._read(grant, _JOBS, Risk.READ_HEAVY))
            self._kept = kept
        return kept.raw

    async def pulse(self, grant: Grant) -> None:
        """See JobLookup."""
        await self._read(grant, _DIAG, Risk.READ)

    async def _read(self, grant: Grant, operation: Operation, risk: Risk) -> bytes:
        """The whole answer. Raises LookupFailed for anything but a 200."""
        try:
            slot = await self._slots.acquire(grant.admission.identity)
            try:
                return await self._ask(_asking(grant, operation, risk, slot))
            finally:
                slot.release()
        except Denied as refusal:
            note = refusal.note or refusal.reason.code
            raise LookupFailed(f"{operation.name}: {note}") from refusal
        except UpstreamFailed as failure:
            raise LookupFailed(f"{operation.name} broke off: {failure}") from failure

    async def _ask(self, grant: Grant) -> bytes:
        name = grant.admission.call.operation.name
        answer = await self._upstream.send(grant)
        try:
            if answer.head.status != _OK:
                raise LookupFailed(f"{name}: status {answer.head.status}")
            if answer.head.length > self._maximum_bytes:
                raise LookupFailed(f"{name}: {answer.head.length} bytes")
            await answer.read_all(self._maximum_bytes)
            return answer.whole or b""
        finally:
            answer.close()


def _asking(grant: Grant, operation: Operation, risk: Risk, slot: Lease) -> Grant:
    """A read of the same user's, in the same API version."""
    version = grant.admission.call.version
    target = operation.template.replace("{version}", version).encode()
    call = AuthorizedCall(operation, version, target, risk, "")
    request = grant.admission.request._replace(accept="application/json", media_type="", length=0)
    admission = grant.admission._replace(call=call, request=request)
    return Grant(admission, None, grant.credential, slot)
