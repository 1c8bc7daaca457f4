"""What every JobLookup keeps: run on the fake Slurm, and on the real client of a server that lists its jobs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from gateway.edges.job_lookup import JobListLookup, JobLookup, LookupFailed
from gateway.slurm_api.marked_job import Sighting, Sought
from tests.key_world import Job, Slots, Slurm
from tests.scripted_upstream import ScriptedUpstream, Seen, answer, answering
from tests.upstream_kit import SUBMIT, make_grant, settled, upstream

NOW = 1_800_000_000
SOUGHT = Sought("idempotency:abc", "comment", "alice", None, frozenset({"mine"}), NOW)
MINE = Job(7, "alice", "words idempotency:abc", "mine", NOW)
UNMARKED = Job(8, "alice", "", "mine", NOW)
THEIRS = Job(9, "bob", "idempotency:abc", "mine", NOW)


@dataclass
class Site:
    """A lookup and the Slurm that it asks."""

    slurm: Slurm
    lookup: JobLookup
    slots: Slots
    server: ScriptedUpstream | None = None


def playing(slurm: Slurm, seen: Seen) -> bytes:
    if slurm.is_down:
        return answer(b'{"errors":[{"error_number":1800}]}', "500 Internal Server Error")
    if seen.path.endswith("/diag"):
        return answer(b'{"errors":[]}')
    jobs = [
        {
            "job_id": job.job_id,
            "user_name": job.user,
            "comment": job.comment,
            "name": job.name,
            "submit_time": int(job.submitted),
        }
        for job in slurm.jobs
    ]
    return answer(json.dumps({"jobs": jobs, "errors": []}).encode())


@pytest.fixture(params=["fake", "real"])
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    slurm = Slurm(jobs=[UNMARKED, THEIRS])
    async with AsyncExitStack() as stack:
        if request.param == "fake":
            yield Site(slurm, slurm, Slots())
            return
        yield await stack.enter_async_context(real(slurm))


@asynccontextmanager
async def real(slurm: Slurm, maximum_bytes: int = 1_000_000) -> AsyncIterator[Site]:
    async with upstream(answering(lambda seen: playing(slurm, seen))) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        slots = Slots()
        yield Site(slurm, JobListLookup(client.slurmrestd, slots, maximum_bytes), slots, server)


async def test_the_users_job_with_the_marker_is_found(site: Site) -> None:
    site.slurm.jobs.append(MINE)
    assert await site.lookup(make_grant(SUBMIT), SOUGHT) == Sighting(7)


async def test_without_it_the_ones_that_may_be_it_are_told(site: Site) -> None:
    assert await site.lookup(make_grant(SUBMIT), SOUGHT) == Sighting(0, (8,))


async def test_a_slurmctld_that_is_down_is_no_proof_of_anything(site: Site) -> None:
    await site.lookup.pulse(make_grant(SUBMIT))
    site.slurm.is_down = True
    with pytest.raises(LookupFailed):
        await site.lookup(make_grant(SUBMIT), SOUGHT)
    with pytest.raises(LookupFailed):
        await site.lookup.pulse(make_grant(SUBMIT))


async def test_what_is_there_before_the_call_is_seen_by_it(site: Site) -> None:
    """However many look at the same time."""

    async def one(number: int) -> None:
        name, marker = f"j{number}", f"idempotency:{number}-"
        site.slurm.jobs.append(Job(100 + number, "alice", marker, name, NOW))
        assert await site.lookup(make_grant(SUBMIT), _sought(marker, name)) == Sighting(
            100 + number
        )

    async def later(number: int) -> None:
        await asyncio.sleep(number * 0.001)
        await one(number)

    await asyncio.gather(*(later(number) for number in range(30)))


def _sought(marker: str, name: str) -> Sought:
    return Sought(marker, "comment", "alice", None, frozenset({name}), NOW)


async def test_it_asks_as_the_same_user_in_the_same_version_and_gives_its_slot_back() -> None:
    async with real(Slurm()) as site:
        grant = make_grant(SUBMIT, "bob", body=b"{}")
        await site.lookup(grant, SOUGHT)
        await site.lookup.pulse(grant)
        assert site.server is not None
        asked = [(seen.line.split(" ")[:2], seen.user, seen.body) for seen in site.server.seen]
        assert asked == [
            (["GET", "/slurm/v0.0.38/jobs"], "bob", b""),
            (["GET", "/slurm/v0.0.38/diag"], "bob", b""),
        ]
        assert all(lease.released for lease in site.slots.given)


async def test_many_that_wait_share_a_read_that_began_after_they_came() -> None:
    async with real(Slurm(jobs=[MINE])) as site:
        grants = [make_grant(SUBMIT, user) for user in ("alice", "bob") for _ in range(20)]
        await asyncio.gather(*(site.lookup(grant, SOUGHT) for grant in grants))
        assert site.server is not None
        assert [seen.user for seen in site.server.seen] == ["alice", "alice", "bob"]


async def test_a_list_that_is_too_long_is_no_proof() -> None:
    async with real(Slurm(jobs=[MINE] * 100), maximum_bytes=1000) as site:
        with pytest.raises(LookupFailed, match="bytes"):
            await site.lookup(make_grant(SUBMIT), SOUGHT)
        await settled(lambda: all(lease.released for lease in site.slots.given))


async def test_a_slurmrestd_that_is_away_is_no_proof() -> None:
    async with real(Slurm()) as site:
        assert site.server is not None
        await site.server.stop()
        with pytest.raises(LookupFailed):
            await site.lookup(make_grant(SUBMIT), SOUGHT)
