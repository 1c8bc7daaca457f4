"""One key, one run: replays, waiting, what a broken connection leaves behind, and what is refused."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.stages.idempotency import StoredAnswer
from tests.fake_keys import CAPS, SETTLE_SECONDS, TERMS, FakeKeyStore
from tests.fakes import FakeLease
from tests.key_world import Fate, KeyWorld, Slurm, is_replay, job_id_of, keyed
from tests.upstream_kit import CANCEL, make_grant
from tests.virtual_time import run_virtually


async def refused(asking: Coroutine[Any, Any, object]) -> Denied:
    with pytest.raises(Denied) as caught:
        await asking
    return caught.value


def retry_after(refusal: Denied) -> int:
    return int(dict(refusal.headers).get("Retry-After", "0"))


async def lost(world: KeyWorld, key: str = "k", **job: Any) -> None:
    """A first request whose connection breaks."""
    refusal = await refused(world.submit(key, **job))
    assert refusal.members == {"outcome": "unknown"}


def test_the_second_request_gets_the_first_ones_answer_and_nothing_is_sent() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        first, second = await world.submit("k"), await world.submit("k")
        assert (first.head.status, first.whole) == (second.head.status, second.whole)
        assert (is_replay(first), is_replay(second)) == (False, True)
        assert dict(second.head.headers)[b"content-type"] == b"application/json"
        assert second.note == f"replayed, first request {keyed('k').admission.request.request_id}"
        assert first.note.startswith("marked idempotency:")
        assert len(world.slurm.sent) == 1

    run_virtually(scenario())


def test_a_restart_forgets_nothing() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        first = await world.submit("k")
        world.start()
        assert (await world.submit("k")).whole == first.whole
        assert len(world.slurm.sent) == 1

    run_virtually(scenario())


def test_requests_with_other_keys_identities_or_without_a_key_run_apart() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        answers = [await world.submit(key) for key in ("1", "2", "", "")]
        answers.append(await world.submit("1", user="bob"))
        assert [job_id_of(answer) for answer in answers] == [1, 2, 3, 4, 5]
        assert not any(map(is_replay, answers))

    run_virtually(scenario())


def test_without_a_key_the_body_is_sent_as_it_came_and_nothing_is_remembered() -> None:
    async def scenario() -> None:
        store = FakeKeyStore()
        world = KeyWorld(store=store)
        await world.submit("", comment="mine")
        assert world.slurm.bodies == [b'{"job":{"name":"job","comment":"mine"}}']
        assert not store.entries

    run_virtually(scenario())


def test_the_marker_stands_behind_what_the_user_wrote() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        await world.submit("1", comment="mine")
        await world.submit("2")
        first, second = (job.comment for job in world.slurm.jobs)
        assert first.startswith("mine idempotency:")
        assert second.startswith("idempotency:")
        assert first.removeprefix("mine ") != second

    run_virtually(scenario())


def test_another_body_with_the_key_is_refused_while_it_runs_and_afterwards() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        running = asyncio.ensure_future(world.submit("k"))
        await asyncio.sleep(0.5)
        during = await refused(world.submit("k", name="other"))
        assert not running.done(), "it need not wait to be refused"
        await running
        after = await refused(world.submit("k", name="other"))
        assert (during.reason, after.reason) == (Reason.IDEMPOTENCY_KEY_REUSED,) * 2
        assert list(world.slurm.runs()) == ["job"]

    run_virtually(scenario())


def test_a_second_request_waits_without_a_slot_and_gets_the_answer() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        first = asyncio.ensure_future(world.submit("k"))
        await asyncio.sleep(0.1)
        grant = keyed("k")
        second = asyncio.ensure_future(world.gateway.send(grant))
        await asyncio.sleep(0.1)
        assert isinstance(grant.slot, FakeLease)
        assert grant.slot.released
        assert not second.done()
        assert (await first).whole == (await second).whole
        assert is_replay(await second)

    run_virtually(scenario())


def test_a_wait_is_bounded() -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm(answer_seconds=60))
        first = asyncio.ensure_future(world.submit("k"))
        await asyncio.sleep(1)
        refusal = await refused(world.submit("k"))
        assert refusal.reason is Reason.IDEMPOTENCY_IN_PROGRESS
        assert retry_after(refusal) > 0
        assert not first.done()
        await first

    run_virtually(scenario())


def test_who_waited_for_a_request_that_never_ran_runs_itself_with_a_slot_of_its_own() -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([Fate.NOT_SENT]))
        first = asyncio.ensure_future(refused(world.submit("k")))
        second = asyncio.ensure_future(world.submit("k"))
        assert (await first).members == {"outcome": "not-run"}
        assert not is_replay(await second)
        assert world.slurm.runs() == {"job": 1}
        assert [lease.released for lease in world.slots.given] == [1]

    run_virtually(scenario())


def test_what_was_certainly_not_sent_frees_the_key() -> None:
    async def scenario() -> None:
        store = FakeKeyStore()
        world = KeyWorld(Slurm([Fate.NOT_SENT]), store=store)
        await refused(world.submit("k"))
        assert not store.entries
        assert not is_replay(await world.submit("k", name="another"))

    run_virtually(scenario())


def test_slurms_own_refusal_of_the_job_is_an_answer_and_is_replayed() -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([Fate.REFUSED]))
        first, second = await world.submit("k"), await world.submit("k")
        assert (first.head.status, second.head.status) == (500, 500)
        assert second.whole == first.whole
        assert is_replay(second)

    run_virtually(scenario())


@pytest.mark.parametrize("fate", [Fate.LOST_AFTER, Fate.VAGUE_AFTER, Fate.CUT])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_lost_job_is_found_and_answered(fate: Fate, restarts: bool) -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([fate]))
        if fate is Fate.VAGUE_AFTER:
            assert not is_replay(await world.submit("k"))
        else:
            await lost(world)
        if restarts:
            world.start()
        found, again = await world.submit("k"), await world.submit("k")
        assert world.slurm.runs() == {"job": 1}
        assert job_id_of(found) == job_id_of(again) == 1
        assert is_replay(found)
        assert "found as job 1, first request" in found.note
        assert found.head.status == 200

    run_virtually(scenario())


@pytest.mark.parametrize("fate", [Fate.LOST_BEFORE, Fate.VAGUE_BEFORE])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_job_that_never_came_is_sent_again_after_the_settling_time(
    fate: Fate, restarts: bool
) -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([fate]))
        loop = asyncio.get_running_loop()
        if fate is Fate.VAGUE_BEFORE:
            await world.submit("k")
        else:
            await lost(world)
        if restarts:
            world.start()
        broken = loop.time()
        answer = await world.submit("k")
        assert loop.time() - broken >= SETTLE_SECONDS
        assert not is_replay(answer)
        assert answer.note.startswith("sent again, marked idempotency:")
        assert world.slurm.runs() == {"job": 1}
        assert world.slurm.looks == 2
        assert is_replay(await world.submit("k"))

    run_virtually(scenario())


def test_long_after_the_break_slurmctld_still_has_to_answer_for_half_the_settling_time() -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([Fate.LOST_BEFORE]))
        await lost(world)
        await asyncio.sleep(100)
        began = asyncio.get_running_loop().time()
        await world.submit("k")
        assert asyncio.get_running_loop().time() - began >= SETTLE_SECONDS / 2

    run_virtually(scenario())


def test_a_stopped_slurmctld_that_goes_on_does_not_run_the_job_twice() -> None:
    """It works off what waited, and answers the look before it takes the job."""

    async def scenario() -> None:
        slurm = Slurm([Fate.LOST_AFTER], resumed=asyncio.Event(), late_seconds=0)
        world = KeyWorld(slurm)
        await lost(world)
        await asyncio.sleep(50)
        asking = asyncio.ensure_future(world.submit("k"))
        await asyncio.sleep(20)
        assert slurm.resumed is not None
        slurm.resumed.set()
        assert job_id_of(await asking) == 1
        await asyncio.sleep(30)
        assert slurm.runs() == {"job": 1}

    run_virtually(scenario())


def test_a_slurmctld_that_stops_while_it_is_watched_is_watched_anew() -> None:
    """The submission waits in its queue, and it takes a while to come to it."""

    async def scenario() -> None:
        slurm = Slurm([Fate.LOST_AFTER], late_seconds=8, working_off_seconds=6)
        world = KeyWorld(slurm)
        await lost(world)
        asking = asyncio.ensure_future(world.submit("k"))
        await asyncio.sleep(7.5)
        slurm.resumed = asyncio.Event()
        await asyncio.sleep(15)
        slurm.resumed.set()
        slurm.resumed = None
        assert job_id_of(await asking) == 1
        await asyncio.sleep(30)
        assert slurm.runs() == {"job": 1}

    run_virtually(scenario())


def test_a_list_that_cannot_be_read_proves_nothing_however_well_slurmctld_answers() -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([Fate.LOST_BEFORE], is_list_broken=True))
        await lost(world)
        refusal = await refused(world.submit("k"))
        assert refusal.reason is Reason.OUTCOME_UNKNOWN
        assert not world.slurm.jobs

    run_virtually(scenario())


def test_without_the_time_to_settle_the_client_is_told_when_to_come_back() -> None:
    async def scenario() -> None:
        terms = replace(TERMS, wait_seconds=5)
        world = KeyWorld(Slurm([Fate.LOST_BEFORE]), terms)
        await lost(world)
        refusal = await refused(world.submit("k"))
        assert refusal.reason is Reason.OUTCOME_UNKNOWN
        assert 15 <= retry_after(refusal) <= 20
        assert refusal.members == {"outcome": "unknown"}

    run_virtually(scenario())


def test_while_slurmctld_does_not_answer_nothing_is_sent_again() -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([Fate.LOST_AFTER]))
        await lost(world)
        world.slurm.is_down = True
        await asyncio.sleep(60)
        refusal = await refused(world.submit("k"))
        assert (refusal.reason, retry_after(refusal) > 0) == (Reason.OUTCOME_UNKNOWN, True)
        world.slurm.is_down = False
        assert job_id_of(await world.submit("k")) == 1

    run_virtually(scenario())


@pytest.mark.parametrize("seconds", [300, 5000])
def test_after_the_age_at_which_ended_jobs_leave_it_is_never_sent_again(seconds: float) -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([Fate.LOST_BEFORE]))
        await lost(world)
        await asyncio.sleep(seconds)
        refusal = await refused(world.submit("k"))
        assert (refusal.reason, retry_after(refusal)) == (Reason.OUTCOME_UNKNOWN, 0)
        assert not world.slurm.jobs

    run_virtually(scenario())


def test_the_age_is_looked_at_when_the_looking_is_over() -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([Fate.LOST_BEFORE]))
        await lost(world)
        await asyncio.sleep(295)
        assert (await refused(world.submit("k"))).reason is Reason.OUTCOME_UNKNOWN
        assert not world.slurm.jobs

    run_virtually(scenario())


def test_a_job_that_lost_its_marker_to_a_plugin_is_not_run_twice() -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([Fate.LOST_AFTER], rewrites_comments=True, late_seconds=0))
        await lost(world, name="mine")
        await asyncio.sleep(1)
        refusal = await refused(world.submit("k", name="mine"))
        assert refusal.reason is Reason.OUTCOME_UNKNOWN
        assert "(1,)" in refusal.note

    run_virtually(scenario())


def test_another_users_job_with_a_copied_marker_is_not_taken_for_the_lost_one() -> None:
    async def scenario() -> None:
        store = FakeKeyStore()
        world = KeyWorld(Slurm([Fate.LOST_BEFORE]), store=store)
        await lost(world)
        (entry,) = store.entries.values()
        await world.submit("theirs", user="bob", name="copied", comment=entry.marker)
        assert job_id_of(await world.submit("k")) == 2
        assert world.slurm.runs() == {"copied": 1, "job": 1}

    run_virtually(scenario())


def test_an_identity_that_is_another_slurm_user_by_now_is_not_looked_for() -> None:
    async def scenario() -> None:
        store = FakeKeyStore()
        world = KeyWorld(Slurm([Fate.LOST_AFTER]), store=store)
        await lost(world)
        ((key, entry),) = store.entries.items()
        store.entries[key] = replace(entry, user="former")
        assert (await refused(world.submit("k"))).reason is Reason.OUTCOME_UNKNOWN

    run_virtually(scenario())


def test_a_request_cut_off_by_a_crash_is_looked_for_not_repeated() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        running = asyncio.ensure_future(world.submit("k"))
        await asyncio.sleep(0.5)
        running.cancel()
        await asyncio.wait([running])
        world.start()
        await world.submit("k")
        assert len(world.slurm.sent) == 2, "Slurm never heard of the first"
        assert world.slurm.runs() == {"job": 1}

    run_virtually(scenario())


def test_nothing_is_sent_before_the_key_is_on_disk() -> None:
    async def scenario() -> None:
        store = FakeKeyStore()
        store.fails = {"begin"}
        world = KeyWorld(store=store)
        refusal = await refused(world.submit("k"))
        assert (refusal.reason, retry_after(refusal) > 0) == (Reason.IDEMPOTENCY_UNAVAILABLE, True)
        assert not world.slurm.sent

    run_virtually(scenario())


def test_nothing_is_sent_again_before_that_is_on_disk() -> None:
    async def scenario() -> None:
        store = FakeKeyStore()
        world = KeyWorld(Slurm([Fate.LOST_BEFORE]), store=store)
        await lost(world)
        store.fails = {"begin_again"}
        refusal = await refused(world.submit("k"))
        assert refusal.reason is Reason.IDEMPOTENCY_UNAVAILABLE
        assert len(world.slurm.sent) == 1

    run_virtually(scenario())


def test_an_answer_that_cannot_be_remembered_is_delivered_and_its_job_found_later() -> None:
    async def scenario() -> None:
        store = FakeKeyStore()
        world = KeyWorld(store=store)
        store.fails = {"finish"}
        first = await world.submit("k")
        assert job_id_of(first) == 1
        assert job_id_of(await world.submit("k")) == 1
        store.fails = set()
        assert is_replay(await world.submit("k"))
        assert world.slurm.runs() == {"job": 1}

    run_virtually(scenario())


def test_a_key_that_cannot_be_forgotten_is_looked_for() -> None:
    async def scenario() -> None:
        store = FakeKeyStore()
        store.fails = {"forget"}
        world = KeyWorld(Slurm([Fate.NOT_SENT]), store=store)
        await refused(world.submit("k"))
        await world.submit("k")
        assert world.slurm.looks == 2
        assert world.slurm.runs() == {"job": 1}

    run_virtually(scenario())


@pytest.mark.parametrize("caps", [CAPS._replace(each=2), CAPS._replace(in_all=2)])
def test_more_keys_than_allowed_are_refused_before_anything_is_sent(caps: Any) -> None:
    async def scenario() -> None:
        world = KeyWorld(terms=replace(TERMS, caps=caps))
        await world.submit("1")
        await world.submit("2")
        refusal = await refused(world.submit("3"))
        assert refusal.reason is Reason.IDEMPOTENCY_KEYS_EXCEEDED
        assert is_replay(await world.submit("2"))
        assert len(world.slurm.sent) == 2

    run_virtually(scenario())


def test_of_a_long_answer_the_jobs_number_is_remembered() -> None:
    async def scenario() -> None:
        world = KeyWorld(terms=replace(TERMS, maximum_answer_bytes=10))
        first, second = await world.submit("k"), await world.submit("k")
        assert job_id_of(first) == job_id_of(second)
        assert is_replay(second)

    run_virtually(scenario())


def test_a_long_refusal_frees_the_key() -> None:
    async def scenario() -> None:
        terms = replace(TERMS, maximum_answer_bytes=10)
        world = KeyWorld(Slurm([Fate.REFUSED]), terms)
        assert (await world.submit("k")).head.status == 500
        assert (await world.submit("k")).head.status == 200

    run_virtually(scenario())


def test_after_its_time_a_key_is_new() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        await world.submit("k")
        await asyncio.sleep(TERMS.keep_seconds)
        assert not is_replay(await world.submit("k"))
        assert world.slurm.runs() == {"job": 2}

    run_virtually(scenario())


@pytest.mark.parametrize(
    "job", [{"comment": 7}, {"comment": "x" * 1000}, {"comment": "a", "Comment": "b"}]
)
def test_a_job_without_room_for_the_marker_is_refused_and_uses_up_no_key(
    job: dict[str, Any],
) -> None:
    async def scenario() -> None:
        store = FakeKeyStore()
        world = KeyWorld(store=store)
        refusal = await refused(world.submit("k", **job))
        assert refusal.reason is Reason.IDEMPOTENCY_BODY_UNFIT
        assert "comment" in refusal.detail
        assert not world.slurm.sent
        assert not store.entries

    run_virtually(scenario())


def test_a_body_too_large_to_be_marked_is_refused() -> None:
    async def scenario() -> None:
        refusal = await refused(KeyWorld().submit("k", script="x" * 17_000_000))
        assert refusal.reason is Reason.BODY_TOO_LARGE

    run_virtually(scenario())


def test_other_operations_go_through_untouched() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        grant = make_grant(CANCEL, body=b'{"job":{}}')
        request = grant.admission.request._replace(idempotency_key="k")
        grant = grant._replace(admission=grant.admission._replace(request=request))
        await world.gateway.send(grant)
        assert world.slurm.sent == [grant]

    run_virtually(scenario())


def test_the_slot_is_given_back_whatever_happens() -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([Fate.ANSWERED, Fate.LOST_BEFORE, Fate.NOT_SENT, Fate.REFUSED]))
        for key in ("1", "1", "2", "2", "3", "4", "4"):
            grant = keyed(key)
            with suppress(Denied):
                await world.gateway.send(grant)
            assert isinstance(grant.slot, FakeLease)
            assert grant.slot.released
        assert all(lease.released for lease in world.slots.given)

    run_virtually(scenario())


def test_a_stored_answer_without_a_media_type_is_replayed_without_one() -> None:
    async def scenario() -> None:
        store = FakeKeyStore()
        world = KeyWorld(store=store)
        await world.submit("k")
        ((key, entry),) = store.entries.items()
        store.entries[key] = replace(entry, answer=StoredAnswer(503, "", b""))
        answer = await world.submit("k")
        assert (answer.head.status, answer.whole) == (503, b"")
        assert b"content-type" not in dict(answer.head.headers)

    run_virtually(scenario())
