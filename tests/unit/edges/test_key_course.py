"""A key and its audit record wait for their disks at the same time; nothing is sent before both are safe."""

import asyncio
from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.stages.idempotency import Caps, KeyEntry, StoredAnswer
from tests.fake_keys import FakeKeyStore
from tests.fakes import FakeLease
from tests.key_world import Fate, KeyWorld, Slurm, is_replay, keyed
from tests.upstream_kit import CANCEL, make_grant
from tests.virtual_time import run_virtually


class SlowStore(FakeKeyStore):
    """Each write takes a second; `trace` names those that are on disk."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: list[str] = []

    async def _touch(self, method: str) -> None:
        await asyncio.sleep(1)
        await super()._touch(method)
        self.trace.append(method)


def begun(world: KeyWorld, key: str = "k") -> tuple[Any, Any]:
    """(grant, course) of a request whose record is being written."""
    grant = keyed(key)
    course = world.gateway.begin(grant.admission, grant.body, grant.slot)
    assert course is not None
    return grant._replace(beside=course), course


def test_the_key_is_remembered_while_the_record_is_written_and_nothing_is_sent_before() -> None:
    async def scenario() -> None:
        store = SlowStore()
        world = KeyWorld(store=store)
        grant, course = begun(world)
        await asyncio.sleep(5)  # the record
        assert store.trace == ["begin"]
        assert not world.slurm.sent
        await world.gateway.send(grant)
        await course.wait()
        assert len(world.slurm.sent) == 1

    run_virtually(scenario())


def test_a_record_that_is_safe_first_does_not_let_a_request_pass_without_its_key() -> None:
    async def scenario() -> None:
        store = SlowStore()
        world = KeyWorld(store=store)
        grant, _ = begun(world)
        sending = asyncio.ensure_future(world.gateway.send(grant))
        await asyncio.sleep(0.5)
        assert not world.slurm.sent
        await sending
        assert store.trace == ["begin"]

    run_virtually(scenario())


def test_the_answer_is_there_before_it_is_remembered_and_waiting_ends_when_it_is() -> None:
    async def scenario() -> None:
        store = SlowStore()
        grant, course = begun(world := KeyWorld(store=store))
        await world.gateway.send(grant)
        assert store.trace == ["begin"]
        await course.wait()
        assert store.trace == ["begin", "finish"]
        assert is_replay(await world.submit("k"))

    run_virtually(scenario())


def test_without_a_record_beside_it_an_answer_is_remembered_before_it_is_given() -> None:
    async def scenario() -> None:
        store = SlowStore()
        await KeyWorld(store=store).submit("k")
        assert store.trace == ["begin", "finish"]

    run_virtually(scenario())


def test_what_is_dropped_frees_its_key_and_is_never_sent() -> None:
    async def scenario() -> None:
        store = SlowStore()
        _, course = begun(world := KeyWorld(store=store))
        await asyncio.sleep(0.5)
        course.drop()
        await course.wait()
        assert store.trace == ["begin", "forget"]
        assert not world.slurm.sent
        assert not store.entries
        assert not is_replay(await world.submit("k", name="another"))

    run_virtually(scenario())


def test_what_is_dropped_while_it_waits_for_its_turn_takes_no_key() -> None:
    async def scenario() -> None:
        store = SlowStore()
        world = KeyWorld(store=store)
        first = asyncio.ensure_future(world.submit("k"))
        await asyncio.sleep(0.1)
        grant, course = begun(world)
        await asyncio.sleep(0.1)
        assert isinstance(grant.slot, FakeLease)
        assert grant.slot.released, "who waits holds no slot"
        course.drop()
        await first
        await course.wait()
        assert store.trace == ["begin", "finish"]

    run_virtually(scenario())


def test_a_replay_that_is_dropped_leaves_the_first_ones_answer_alone() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        await world.submit("k")
        _, course = begun(world)
        await asyncio.sleep(0.5)  # it has found the answer
        course.drop()
        await course.wait()
        assert is_replay(await world.submit("k"))

    run_virtually(scenario())


def test_a_refusal_of_the_key_is_heard_when_the_record_is_safe() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        await world.submit("k")
        grant = keyed("k", name="other")
        course = world.gateway.begin(grant.admission, grant.body, grant.slot)
        assert course is not None
        await asyncio.sleep(1)
        with pytest.raises(Denied) as refusal:
            await world.gateway.send(grant._replace(beside=course))
        assert refusal.value.reason is Reason.IDEMPOTENCY_KEY_REUSED

    run_virtually(scenario())


def test_nothing_complains_where_a_course_has_failed_before_it_is_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Full(FakeKeyStore):
        async def begin(self, fresh: KeyEntry, now: float, caps: Caps) -> KeyEntry:
            return await super().begin(fresh, now, Caps(0, 0))

    async def scenario() -> None:
        _, course = begun(KeyWorld(store=Full()))
        await course.wait()
        course.drop()

    run_virtually(scenario())
    assert not caplog.records


def test_a_request_that_is_cut_off_cuts_its_course_off_and_its_job_is_looked_for() -> None:
    async def scenario() -> None:
        world = KeyWorld(Slurm([Fate.LOST_AFTER], answer_seconds=30))
        sending = asyncio.ensure_future(world.submit("k"))
        await asyncio.sleep(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.sleep(60)
        assert is_replay(await world.submit("k"))
        assert world.slurm.runs() == {"job": 1}

    run_virtually(scenario())


def test_a_cut_behind_the_answer_does_not_stop_it_from_being_remembered() -> None:
    async def scenario() -> None:
        class Slow(SlowStore):
            async def finish(self, key_hash: str, answer: StoredAnswer) -> None:
                await asyncio.sleep(5)
                await super().finish(key_hash, answer)

        grant, course = begun(world := KeyWorld(store=Slow()))
        await world.gateway.send(grant)
        waiting = asyncio.ensure_future(course.wait())
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.sleep(10)
        assert is_replay(await world.submit("k"))

    run_virtually(scenario())


def test_requests_without_a_key_of_meaning_have_no_course() -> None:
    async def scenario() -> None:
        world = KeyWorld()
        cancel = make_grant(CANCEL, body=b"{}")
        for grant in (keyed(""), cancel):
            assert world.gateway.begin(grant.admission, grant.body, grant.slot) is None

    run_virtually(scenario())


def test_what_something_in_front_refused_to_send_frees_its_key_and_nobody_waits_for_ever() -> None:
    """A breaker that is open, say: nothing grants the course, and nothing drops it but the end of its request."""

    async def scenario() -> None:
        world = KeyWorld(store=SlowStore())
        grant, course = begun(world)
        await asyncio.sleep(5)
        async with asyncio.timeout(60):
            await course.wait()
        assert not world.slurm.sent
        again, _ = begun(world)
        await world.gateway.send(again)
        assert len(world.slurm.sent) == 1
        assert grant is not again

    run_virtually(scenario())
