"""(a submission that broke off) -> the job that it became, the certainty that there is none, or a refusal."""

import asyncio
from dataclasses import dataclass
from math import ceil, inf
from typing import NamedTuple

from gateway.denial import Denied, Reason
from gateway.edges.job_lookup import JobLookup, LookupFailed
from gateway.edges.key_turns import KeyTurns
from gateway.model import Clock, Grant
from gateway.slurm_api.marked_job import Sought
from gateway.stages.idempotency import KeyEntry

_RETRY_SECONDS = 5
_PULSES = 5
"""In half the settling time; a slurmctld that needs longer than from one to the next is not prompt."""


class Lost(NamedTuple):
    """What was sent: by `grant` once more, remembered as `entry`, the marker in `field`."""

    grant: Grant
    entry: KeyEntry
    field: str
    job_names: frozenset[str]


@dataclass(frozen=True, slots=True)
class FindLost:
    """`job_age_seconds` is how long an ended job stays in slurmctld at least (MinJobAge)."""

    lookup: JobLookup
    turns: KeyTurns
    settle_seconds: float
    job_age_seconds: float
    now: Clock

    async def __call__(self, lost: Lost, deadline: float) -> int:
        """The job's id, 0 when it is certain that there is none. `deadline` is on the clock of the turns."""
        entry = lost.entry
        if entry.user != lost.grant.admission.user.name:
            raise _unknown("this identity was another Slurm user then")
        job_id = await self._look(lost)
        if not job_id:
            is_ours = entry.holder == self.turns.holder
            broken = self.turns.broken_at(entry.key_hash, is_ours=is_ours)
            await self._let_settle(lost.grant, broken + self.settle_seconds / 2, deadline)
            job_id = await self._look(lost)
        return job_id

    async def _let_settle(self, grant: Grant, since: float, deadline: float) -> None:
        """From `since`, half the settling time in which slurmctld answers promptly, again and again.

        A slurmctld that was stopped works off what waits for it in any order: its first answer may be
        older than a submission that came before. So one answer proves nothing, and a slow one starts
        the time anew.
        """
        monotonic, half = self.turns.monotonic, self.settle_seconds / 2
        step, steady_since = half / _PULSES, inf
        next_pulse = max(since, monotonic())
        while True:
            sure_at = half + min(steady_since, next_pulse)
            if sure_at > deadline:
                raise _unknown("not yet settled", ceil(sure_at - monotonic()))
            await asyncio.sleep(next_pulse - monotonic())
            begun = monotonic()
            await self._feel_pulse(grant)
            next_pulse = monotonic() + step
            if next_pulse - begun > 2 * step:
                steady_since = inf
            elif begun >= steady_since + half:
                return
            else:
                steady_since = min(steady_since, begun)

    async def _feel_pulse(self, grant: Grant) -> None:
        try:
            await self.lookup.pulse(grant)
        except LookupFailed as failure:
            raise _unknown(str(failure), _RETRY_SECONDS) from failure

    async def _look(self, lost: Lost) -> int:
        entry, user = lost.entry, lost.grant.admission.user
        sought = Sought(entry.marker, lost.field, user.name, user.uid, lost.job_names, entry.begun)
        try:
            sighting = await self.lookup(lost.grant, sought)
        except LookupFailed as failure:
            raise _unknown(str(failure), _RETRY_SECONDS) from failure
        if sighting.job_id:
            return sighting.job_id
        if sighting.lookalikes:
            raise _unknown(f"may be one of {sighting.lookalikes}, which have no marker")
        if not 0 <= self.now() - entry.begun < self.job_age_seconds:
            raise _unknown("too long ago: an ended job may have left slurmctld")
        return 0


def _unknown(note: str, retry_seconds: int = 0) -> Denied:
    """Without seconds to wait, it will never be known here."""
    headers = (("Retry-After", str(retry_seconds)),) if retry_seconds else ()
    members = {"outcome": "unknown"}
    return Denied(Reason.OUTCOME_UNKNOWN, note, headers=headers, members=members)
