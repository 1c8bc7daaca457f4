"""Who is refused after failed authentications, and for how long."""

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.buckets import MemoryBuckets
from gateway.edges.failed_attempts import (
    AttemptMemory,
    FailedAttempts,
    FailureRates,
    address_key,
)
from gateway.stages.authenticate import Attempt
from gateway.stages.limit import Rate, Refusal
from tests.fakes import FakeClock

PER_SUBJECT, PER_ADDRESS, EXPIRED = 3, 10, 5
WINDOW = 60


class OneWindow(MemoryBuckets):
    """Counts in a window that ends when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.hits: dict[str, int] = {}

    async def hit(self, rate: Rate, key: str) -> Refusal | None:
        self.hits[key] = self.hits.get(key, 0) + 1
        return None

    async def test(self, rate: Rate, key: str) -> Refusal | None:
        used_up = self.hits.get(key, 0) >= rate.amount
        return Refusal(float(rate.window_seconds)) if used_up else None


class Scene:
    """A budget on a clock that a test moves."""

    def __init__(self) -> None:
        self.clock, self.buckets, self.memory = FakeClock(), OneWindow(), AttemptMemory()
        rates = FailureRates(
            Rate("per-subject", PER_SUBJECT, WINDOW),
            Rate("per-address", PER_ADDRESS, WINDOW),
            Rate("expired", EXPIRED, WINDOW),
            longest_seconds=200.0,
        )
        self.budget = FailedAttempts(rates, self.buckets, self.memory, self.clock)

    async def fail(self, attempt: Attempt, times: int, *, is_expired: bool = False) -> None:
        for _ in range(times):
            await self.budget.count(attempt, is_expired=is_expired)

    async def wait_for(self, attempt: Attempt) -> int:
        """The seconds that a refusal names; 0 where there is none."""
        try:
            await self.budget.check(attempt)
        except Denied as denied:
            is_ours = denied.reason is Reason.AUTHENTICATION_THROTTLED
            return int(dict(denied.headers)["Retry-After"]) if is_ours else -1
        return 0


def attempt(
    subject: str = "alice",
    address: str = "192.0.2.7",
    *,
    digest: bytes = b"new",
    claims_to_be_expired: bool = False,
) -> Attempt:
    return Attempt(address, subject, digest, claims_to_be_expired)


async def test_a_subject_claimed_in_vain_is_refused_from_that_address_alone() -> None:
    scene = Scene()
    await scene.fail(attempt(), PER_SUBJECT - 1)
    assert await scene.wait_for(attempt()) == 0
    await scene.fail(attempt(), 1)
    assert await scene.wait_for(attempt()) == WINDOW
    assert await scene.wait_for(attempt("bob")) == 0
    assert await scene.wait_for(attempt(address="192.0.2.8")) == 0
    assert scene.memory.refused == {"subject": 1, "address": 0, "expired": 0}


async def test_an_address_that_claims_ever_new_subjects_is_refused_altogether() -> None:
    scene = Scene()
    for number in range(PER_ADDRESS):
        await scene.fail(attempt(f"guess-{number}"), 1)
    assert await scene.wait_for(attempt("nobody-yet")) == WINDOW
    assert await scene.wait_for(attempt("nobody-yet", "192.0.2.8")) == 0
    assert scene.memory.refused["address"] == 1


async def test_whoever_goes_on_is_refused_for_twice_as_long_up_to_the_longest() -> None:
    scene = Scene()
    waits = []
    for _ in range(4):
        await scene.fail(attempt(), PER_SUBJECT)
        waits.append(await scene.wait_for(attempt()))
        scene.clock.advance(waits[-1])
        assert await scene.wait_for(attempt()) == 0
    assert waits[0] == WINDOW
    assert waits == sorted(waits)
    assert waits[-1] == 200


async def test_whoever_stays_quiet_begins_anew() -> None:
    scene = Scene()
    await scene.fail(attempt(), PER_SUBJECT)
    scene.clock.advance(3 * WINDOW)
    scene.buckets.hits.clear()
    await scene.fail(attempt(), PER_SUBJECT)
    assert await scene.wait_for(attempt()) == WINDOW


async def test_a_token_that_verified_before_is_heard_from_an_address_that_is_refused() -> None:
    scene = Scene()
    scene.budget.trust(b"good")
    await scene.fail(attempt(), PER_ADDRESS)
    assert await scene.wait_for(attempt()) > 0
    assert await scene.wait_for(attempt(digest=b"good")) == 0


async def test_expired_tokens_have_a_ceiling_of_their_own() -> None:
    scene = Scene()
    await scene.fail(attempt(), EXPIRED * 5, is_expired=True)
    assert await scene.wait_for(attempt()) == 0
    assert await scene.wait_for(attempt(claims_to_be_expired=True)) > 0
    assert scene.memory.failed == {"unknown": 0, "expired": EXPIRED * 5}


async def test_claiming_to_be_expired_opens_no_second_way() -> None:
    scene = Scene()
    await scene.fail(attempt(claims_to_be_expired=True), PER_SUBJECT)
    assert await scene.wait_for(attempt(claims_to_be_expired=True)) == WINDOW


@pytest.mark.parametrize("address", ["", "unix", "127.0.0.1", "127.3.2.1", "::1"])
async def test_nobody_is_shut_out_where_people_cannot_be_told_apart(address: str) -> None:
    scene = Scene()
    await scene.fail(attempt(address=address), PER_ADDRESS * 2)
    assert await scene.wait_for(attempt(address=address)) == 0
    assert scene.memory.failed["unknown"] == PER_ADDRESS * 2


async def test_a_network_of_one_host_is_one_address() -> None:
    scene = Scene()
    for number in range(PER_ADDRESS):
        await scene.fail(attempt(f"guess-{number}", f"2001:db8::{number}"), 1)
    assert await scene.wait_for(attempt("x", "2001:db8::ffff")) == WINDOW
    assert await scene.wait_for(attempt("x", "2001:db8:0:1::1")) == 0


async def test_the_memory_of_trusted_tokens_is_bounded() -> None:
    scene = Scene()
    scene.budget.trust(b"first")
    for number in range(32_768):
        scene.budget.trust(number.to_bytes(4, "big"))
    await scene.fail(attempt(), PER_SUBJECT)
    assert await scene.wait_for(attempt(digest=b"first")) > 0
    assert len(scene.memory.trusted) == 32_768


async def test_the_memory_of_refusals_is_bounded_and_keeps_the_newest() -> None:
    scene = Scene()
    for number in range(70_000):
        scene.budget._penalise(str(number), Refusal(60.0))
    assert len(scene.memory.penalties) == 65_536
    assert "69999" in scene.memory.penalties


async def test_the_memory_of_failures_is_bounded_whoever_fails_from_wherever() -> None:
    """Somebody with a network of IPv6 has more addresses than there is memory."""
    buckets, memory = MemoryBuckets(), AttemptMemory()
    day = 86_400
    rates = FailureRates(Rate("s", 2, day), Rate("a", 300, day), Rate("e", 300, day), 900.0)
    budget = FailedAttempts(rates, buckets, memory, FakeClock())
    for number in range(40_000):
        address = f"2001:db8:{number >> 8:x}:{number & 255:x}::1"
        await budget.count(attempt("s" * 250, address), is_expired=False)
    assert len(buckets._storage.storage) <= 65_536
    assert len(memory.counted) <= 65_536
    last = attempt("s" * 250, address)
    for _ in range(2):
        await budget.count(last, is_expired=False)
    with pytest.raises(Denied):
        await budget.check(last)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::1", ""),
        ("unix", ""),
        ("not an address", "not an address"),
    ],
)
def test_addresses_are_counted_by_what_one_host_is_given(address: str, key: str) -> None:
    assert address_key(address) == key
