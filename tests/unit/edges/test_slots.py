"""Slots are shared fairly, given back exactly once, and never lost, whatever the waiting ends with."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied, Reason
from gateway.edges.slots import FairSlots, Slot
from tests.fakes import make_identity

ALICE, BOB, CAROL = (make_identity(subject=name) for name in ("alice", "bob", "carol"))


async def test_there_is_no_waiting_while_there_is_room() -> None:
    slots = FairSlots(4, queue=0, queue_seconds=1)
    held = [await slots.acquire(make_identity(subject=str(n))) for n in range(4)]
    with pytest.raises(Denied) as caught:
        await slots.acquire(ALICE)
    assert caught.value.reason is Reason.BUSY
    assert dict(caught.value.headers) == {"Retry-After": "1"}
    held[0].release()
    assert await slots.acquire(ALICE)


async def test_no_identity_holds_more_than_a_quarter() -> None:
    slots = FairSlots(8, queue=10, queue_seconds=0.02)
    for _ in range(2):
        await slots.acquire(ALICE)
    with pytest.raises(Denied, match="busy"):
        await slots.acquire(ALICE)
    for _ in range(2):
        await slots.acquire(BOB)


async def test_the_smallest_share_is_one() -> None:
    slots = FairSlots(1, queue=0, queue_seconds=1)
    slot = await slots.acquire(ALICE)
    slot.release()
    await slots.acquire(ALICE)


async def test_a_slot_is_given_back_only_once() -> None:
    slots = FairSlots(1, queue=0, queue_seconds=1)
    slot = await slots.acquire(ALICE)
    slot.release()
    slot.release()
    await slots.acquire(ALICE)
    with pytest.raises(Denied):
        await slots.acquire(BOB)


async def test_those_who_wait_take_turns_by_identity() -> None:
    """Alice's hundred requests delay her own, not Bob's one."""
    slots = FairSlots(1, queue=200, queue_seconds=5)
    first = await slots.acquire(CAROL)
    order: list[str] = []

    async def work(name: str, slots: FairSlots) -> None:
        slot = await slots.acquire(make_identity(subject=name))
        order.append(name)
        await asyncio.sleep(0)
        slot.release()

    names = ["alice"] * 10 + ["bob"] * 2 + ["dave"]
    tasks = [asyncio.create_task(work(name, slots)) for name in names]
    await asyncio.sleep(0)
    first.release()
    await asyncio.gather(*tasks)
    assert order[:5] == ["alice", "bob", "dave", "alice", "bob"]
    assert Counter(order) == Counter(names)


async def test_an_identity_at_its_share_does_not_hold_up_others() -> None:
    slots = FairSlots(4, queue=10, queue_seconds=5)
    await slots.acquire(ALICE)
    waiting = asyncio.create_task(slots.acquire(ALICE))
    await asyncio.sleep(0)
    assert isinstance(await slots.acquire(BOB), Slot)
    assert not waiting.done()
    assert slots.queued == 1
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_the_queue_is_bounded_and_waits_have_an_end() -> None:
    slots = FairSlots(1, queue=1, queue_seconds=0.02)
    await slots.acquire(ALICE)
    waiting = asyncio.create_task(slots.acquire(BOB))
    await asyncio.sleep(0)
    with pytest.raises(Denied, match="busy"):
        await slots.acquire(CAROL)
    with pytest.raises(Denied) as caught:
        await waiting
    assert (caught.value.reason, slots.queued) == (Reason.BUSY, 0)


async def test_who_leaves_the_queue_takes_no_slot_along() -> None:
    slots = FairSlots(1, queue=5, queue_seconds=5)
    held = await slots.acquire(ALICE)
    leaving = asyncio.create_task(slots.acquire(BOB))
    staying = asyncio.create_task(slots.acquire(CAROL))
    await asyncio.sleep(0)
    leaving.cancel()
    held.release()  # may be handed to the one who leaves in this very moment
    slot = await staying
    slot.release()
    assert await slots.acquire(ALICE)
    assert slots.queued == 0


async def test_a_slot_that_comes_with_the_cancellation_goes_on() -> None:
    slots = FairSlots(1, queue=5, queue_seconds=5)
    held = await slots.acquire(ALICE)
    leaving = asyncio.create_task(slots.acquire(BOB))
    await asyncio.sleep(0)
    held.release()
    leaving.cancel()
    await asyncio.wait([leaving])
    assert leaving.cancelled()
    assert await slots.acquire(CAROL)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["take", "drop", "cancel"])), max_size=60)
)
def test_slots_are_neither_lost_nor_multiplied(steps: list[tuple[int, str]]) -> None:
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[int, str]]) -> None:
    total = 4
    slots = FairSlots(total, queue=50, queue_seconds=60)
    identities = [make_identity(subject=str(n)) for n in range(4)]
    held: list[Slot] = []
    waiting: list[asyncio.Task[Slot]] = []
    for who, step in steps:
        if step == "take":
            waiting.append(asyncio.create_task(slots.acquire(identities[who])))
        elif step == "drop" and held:
            held.pop(who % len(held)).release()
        elif step == "cancel" and waiting:
            waiting[who % len(waiting)].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        held += [task.result() for task in waiting if task.done() and not task.cancelled()]
        waiting = [task for task in waiting if not task.done()]
        assert len(held) <= total
        assert slots.queued == len(waiting)
    for task in waiting:
        task.cancel()
    if waiting:
        await asyncio.wait(waiting)
    for slot in held:
        slot.release()
    again = [await slots.acquire(identity) for identity in identities]
    assert len(again) == total


@pytest.mark.parametrize("leaves", [1, 2])
async def test_a_slot_goes_past_those_of_its_own_line_who_have_left_in_this_moment(
    leaves: int,
) -> None:
    """Their tasks are cancelled, and have not run since."""
    slots = FairSlots(1, queue=9, queue_seconds=1)
    first = await slots.acquire(ALICE)
    waiting = [asyncio.create_task(slots.acquire(ALICE)) for _ in range(2)]
    await asyncio.sleep(0)
    for task in waiting[:leaves]:
        task.cancel()
    first.release()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in done].count(True) == leaves
    for slot in done:
        if isinstance(slot, Slot):
            slot.release()
    assert (slots._free, slots._held, slots.queued, slots._waiting) == (1, {}, 0, {})
