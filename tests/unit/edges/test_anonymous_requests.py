"""How many requests without a token an address has, and who is never refused one."""

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.anonymous_requests import AnonymousMemory, AnonymousRequests
from gateway.edges.buckets import MemoryBuckets
from gateway.stages.limit import Rate

AMOUNT = 3
DAY = 86_400


class Scene:
    """A budget of a few a day."""

    def __init__(self) -> None:
        self.buckets, self.memory = MemoryBuckets(), AnonymousMemory()
        self.budget = self.made()

    def made(self) -> AnonymousRequests:
        rate = Rate("anonymous-requests", AMOUNT, DAY)
        return AnonymousRequests(rate, self.buckets, self.memory, {b"good"}.__contains__)

    async def refused(self, address: str, digest: bytes | None = None) -> Denied | None:
        try:
            await self.budget.count(address, digest)
        except Denied as denied:
            return denied
        return None

    async def use_up(self, address: str) -> None:
        for _ in range(AMOUNT):
            assert await self.refused(address) is None


async def test_an_address_has_its_amount_and_then_hears_when_to_come_back() -> None:
    scene = Scene()
    await scene.use_up("192.0.2.7")
    denied = await scene.refused("192.0.2.7")
    assert denied is not None
    assert denied.reason is Reason.ANONYMOUS_THROTTLED
    assert denied.rule == "limit.anonymous_requests"
    assert 1 <= int(dict(denied.headers)["Retry-After"]) <= 2 * DAY
    assert await scene.refused("192.0.2.8") is None


async def test_a_network_of_one_host_is_one_address() -> None:
    scene = Scene()
    for number in range(AMOUNT):
        assert await scene.refused(f"2001:db8::{number + 1}") is None
    assert await scene.refused("2001:db8::ffff") is not None
    assert await scene.refused("2001:db8:0:1::1") is None


@pytest.mark.parametrize("address", ["", "unix", "127.0.0.1", "127.3.2.1", "::1"])
async def test_nobody_is_refused_where_people_cannot_be_told_apart(address: str) -> None:
    scene = Scene()
    for _ in range(AMOUNT * 3):
        assert await scene.refused(address) is None
    assert not scene.memory.counted


async def test_a_token_that_verified_before_is_heard_and_costs_its_address_nothing() -> None:
    scene = Scene()
    for _ in range(AMOUNT * 3):
        assert await scene.refused("192.0.2.7", b"good") is None
    await scene.use_up("192.0.2.7")
    assert await scene.refused("192.0.2.7", b"made up") is not None
    assert await scene.refused("192.0.2.7", b"good") is None


async def test_a_reload_gives_nobody_a_fresh_amount() -> None:
    scene = Scene()
    await scene.use_up("192.0.2.7")
    scene.budget = scene.made()
    assert await scene.refused("192.0.2.7") is not None


async def test_the_memory_is_bounded_and_keeps_who_asked_last() -> None:
    """Somebody with a network of IPv6 has more addresses than there is memory."""
    scene = Scene()
    for number in range(70_000):
        address = f"2001:db8:{number >> 8:x}:{number & 255:x}::1"
        await scene.budget.count(address)
    assert len(scene.memory.counted) == 65_536
    assert len(scene.buckets._storage.storage) == 65_536
    for _ in range(AMOUNT - 1):
        assert await scene.refused(address) is None
    assert await scene.refused(address) is not None


async def test_whoever_goes_on_asking_is_not_forgotten_for_all_the_others() -> None:
    scene = Scene()
    await scene.use_up("192.0.2.7")
    for number in range(130_000):
        await scene.budget.count(f"2001:db8:{number >> 8:x}:{number & 255:x}::1")
        if number % 60_000 == 0:
            assert await scene.refused("192.0.2.7") is not None
    assert await scene.refused("192.0.2.7") is not None
