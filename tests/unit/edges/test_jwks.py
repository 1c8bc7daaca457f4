"""When the provider is asked, when not, and what serves meanwhile. Time is the test's own."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.discovery import FetchFailed
from gateway.edges.jwks import RemoteKeys
from gateway.token.keys import VerificationKey
from tests.fakes import FakeClock
from tests.tokens import public_jwk

AGE, STALE = 600.0, 3600.0
ONE, TWO = public_jwk("oidc"), public_jwk("spare", kid="k2")


class Provider:
    """A FetchKeySet: the other side of a RemoteKeys, which a test breaks and mends."""

    def __init__(self) -> None:
        self.published: list[dict[str, object]] = [ONE]
        self.failure: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.fetches = 0

    async def fetch(self) -> bytes:
        self.fetches += 1
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return json.dumps({"keys": self.published}).encode()


class Scene:
    """A provider, its keys and a clock."""

    def __init__(self) -> None:
        self.provider, self.clock = Provider(), FakeClock(1_000.0)
        self.keys = RemoteKeys(
            self.provider,
            issuer="https://idp.example.org",
            key_age_seconds=AGE,
            stale_key_seconds=STALE,
            now=self.clock,
        )

    async def kids(self, kid: str | None = None) -> list[str | None]:
        return [key.kid for key in await self.keys.keys_for(kid)]

    async def first(self) -> VerificationKey:
        return (await self.keys.keys_for("k1"))[0]

    async def refuses(self, kid: str | None = "k1") -> Denied:
        with pytest.raises(Denied) as caught:
            await self.keys.keys_for(kid)
        assert caught.value.reason is Reason.KEYS_UNAVAILABLE
        return caught.value

    def break_down(self) -> None:
        self.provider.failure = FetchFailed("https://idp.example.org/jwks: status 500")


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    yield scene
    scene.provider.gate.set()
    await scene.keys.close()


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(20):
        await asyncio.sleep(0)


# --- freshness


async def test_keys_are_fetched_when_first_needed_and_then_kept(scene: Scene) -> None:
    assert scene.provider.fetches == 0
    for _ in range(100):
        assert await scene.kids("k1") == ["k1"]
    assert scene.provider.fetches == 1


async def test_a_removed_key_stops_verifying_at_its_age(scene: Scene) -> None:
    key = await scene.first()
    scene.provider.published = [TWO]
    scene.clock.advance(AGE - 0.1)
    assert scene.keys.holds(key.fingerprint)
    scene.clock.advance(0.1)
    assert not scene.keys.holds(key.fingerprint)
    assert await scene.kids("k1") == []
    assert not scene.keys.holds(key.fingerprint)


async def test_the_age_counts_from_before_the_request(scene: Scene) -> None:
    """A key that is removed while the answer is on its way may still be in the answer."""
    scene.provider.gate.clear()
    asking = asyncio.create_task(scene.first())
    await settle()
    scene.clock.advance(4)
    scene.provider.gate.set()
    key = await asking
    scene.clock.advance(AGE - 4)
    assert not scene.keys.holds(key.fingerprint)


async def test_the_keeper_refreshes_before_the_age_is_over(scene: Scene) -> None:
    keeper = asyncio.create_task(scene.keys.keep_fresh())
    await settle()
    assert scene.provider.fetches == 1, "at once"
    key = await scene.first()
    keeper.cancel()
    scene.clock.advance(AGE * 0.8)
    keeper = asyncio.create_task(scene.keys.keep_fresh())
    await settle()
    keeper.cancel()
    assert scene.provider.fetches == 2
    scene.clock.advance(AGE * 0.9)
    assert scene.keys.holds(key.fingerprint)


async def test_a_refresh_ahead_makes_nobody_wait(scene: Scene) -> None:
    await scene.first()
    scene.clock.advance(AGE * 0.9)
    scene.provider.gate.clear()
    keeper = asyncio.create_task(scene.keys.keep_fresh())
    await settle()
    assert scene.provider.fetches == 2
    assert await asyncio.wait_for(scene.kids("k1"), 30) == ["k1"]
    keeper.cancel()


# --- unknown kids


async def test_an_unknown_kid_is_asked_for_once_in_ten_seconds(scene: Scene) -> None:
    await scene.first()
    scene.clock.advance(60)
    for number in range(10_000):
        assert await scene.kids(f"random-{number}") == []
    assert scene.provider.fetches == 2
    scene.clock.advance(10)
    assert await scene.kids("random-again") == []
    assert scene.provider.fetches == 3


async def test_ten_thousand_unknown_kids_in_a_minute_are_at_most_seven_fetches(
    scene: Scene,
) -> None:
    await scene.first()
    for number in range(10_000):
        scene.clock.advance(0.006)
        assert await scene.kids(f"random-{number}") == []
    assert scene.provider.fetches <= 1 + 7


async def test_ten_thousand_unknown_kids_while_the_provider_fails_are_few_fetches(
    scene: Scene,
) -> None:
    await scene.first()
    scene.break_down()
    for number in range(10_000):
        scene.clock.advance(0.006)
        try:
            assert await scene.kids(f"random-{number}") == []
        except Denied as denied:
            assert denied.reason is Reason.KEYS_UNAVAILABLE  # noqa: PT017 (either is right)
        await asyncio.sleep(0)
    assert scene.provider.fetches <= 1 + 7
    assert scene.keys.state().failures == scene.provider.fetches - 1


async def test_ten_thousand_tokens_while_there_were_never_keys_are_few_fetches(
    scene: Scene,
) -> None:
    scene.break_down()
    for number in range(10_000):
        scene.clock.advance(0.006)
        await scene.refuses(f"random-{number}")
    assert scene.provider.fetches <= 7, "after 0, 1, 3, 7, 15, 31 and 61 s"


async def test_many_at_once_share_one_flight(scene: Scene) -> None:
    scene.provider.gate.clear()
    asking = [asyncio.create_task(scene.kids("k1")) for _ in range(1_000)]
    await settle()
    scene.provider.gate.set()
    assert await asyncio.gather(*asking) == [["k1"]] * 1_000
    assert scene.provider.fetches == 1


async def test_a_new_key_serves_everybody_who_asked_while_it_was_fetched(scene: Scene) -> None:
    await scene.first()
    scene.provider.published = [ONE, TWO]
    scene.provider.gate.clear()
    asking = [asyncio.create_task(scene.kids("k2")) for _ in range(100)]
    await settle()
    scene.provider.gate.set()
    assert await asyncio.gather(*asking) == [["k2"]] * 100
    assert scene.provider.fetches == 2


async def test_known_keys_are_not_held_up_by_an_unknown_kid(scene: Scene) -> None:
    await scene.first()
    scene.provider.gate.clear()
    asking = asyncio.create_task(scene.kids("random"))
    await settle()
    assert await asyncio.wait_for(scene.kids("k1"), 30) == ["k1"]
    scene.provider.gate.set()
    assert await asking == []


async def test_a_kid_that_was_not_there_is_not_asked_for_again_within_a_minute(
    scene: Scene,
) -> None:
    await scene.first()
    for seconds, fetches in ((0, 2), (11, 2), (48, 2), (1.1, 3)):
        scene.clock.advance(seconds)
        assert await scene.kids("withdrawn") == []
        assert scene.provider.fetches == fetches


async def test_a_kid_that_was_not_there_is_found_once_anything_has_fetched_it(
    scene: Scene,
) -> None:
    assert await scene.kids("k2") == []
    scene.provider.published = [ONE, TWO]
    scene.clock.advance(11)
    assert await scene.kids("another") == []
    assert await scene.kids("k2") == ["k2"]


async def test_the_memory_of_unknown_kids_is_bounded(scene: Scene) -> None:
    for number in range(1_500):
        await scene.kids(f"random-{number}")
        scene.clock.advance(10)
    assert 1_000 < len(scene.keys._unknown) <= 1024


async def test_a_caller_that_goes_away_does_not_end_the_flight(scene: Scene) -> None:
    scene.provider.gate.clear()
    leaving = asyncio.create_task(scene.kids("k1"))
    staying = asyncio.create_task(scene.kids("k1"))
    await settle()
    leaving.cancel()
    scene.provider.gate.set()
    assert await staying == ["k1"]
    assert scene.provider.fetches == 1


# --- while the provider is down


async def test_a_provider_that_is_down_at_the_start_is_a_503_and_comes_back(scene: Scene) -> None:
    scene.break_down()
    denied = await scene.refuses()
    assert denied.headers == (("Retry-After", "1"),)
    assert not scene.keys.state().usable
    scene.provider.failure = None
    scene.clock.advance(1)
    assert await scene.kids("k1") == ["k1"]
    assert scene.keys.state().usable


async def test_the_last_good_keys_serve_for_their_stale_time_and_no_longer(scene: Scene) -> None:
    key = await scene.first()
    scene.break_down()
    scene.clock.advance(AGE)
    assert await scene.kids("k1") == ["k1"]
    assert scene.keys.holds(key.fingerprint)
    scene.clock.advance(STALE - 0.1)
    assert await scene.kids("k1") == ["k1"]
    await settle()
    scene.clock.advance(0.1)
    assert not scene.keys.holds(key.fingerprint)
    denied = await scene.refuses()
    assert int(dict(denied.headers)["Retry-After"]) >= 1
    assert "status 500" in denied.note


async def test_a_kid_that_nobody_has_asked_for_is_not_remembered_as_unknown(scene: Scene) -> None:
    assert await scene.kids("random") == []
    scene.provider.published = [ONE, TWO]
    assert await scene.kids("k2") == [], "too soon to ask again"
    scene.clock.advance(10)
    assert await scene.kids("k2") == ["k2"]


async def test_without_a_stale_time_keys_end_with_their_age() -> None:
    scene = Scene()
    scene.keys = RemoteKeys(
        scene.provider, issuer="i", key_age_seconds=AGE, stale_key_seconds=0, now=scene.clock
    )
    await scene.first()
    scene.break_down()
    scene.clock.advance(AGE)
    await scene.refuses()


async def test_stale_keys_make_nobody_wait(scene: Scene) -> None:
    await scene.first()
    scene.break_down()
    scene.clock.advance(AGE)
    await scene.kids("k1")
    scene.provider.gate.clear()
    scene.clock.advance(30)
    assert await asyncio.wait_for(scene.kids("k1"), 30) == ["k1"]
    await settle()
    assert scene.provider.fetches == 3, "it was tried again meanwhile"


async def test_a_provider_that_comes_back_replaces_the_stale_keys(scene: Scene) -> None:
    key = await scene.first()
    scene.break_down()
    scene.clock.advance(AGE)
    await scene.kids("k1")
    scene.provider.failure, scene.provider.published = None, [TWO]
    scene.clock.advance(5)
    await scene.kids("k1")
    await settle()
    assert not scene.keys.holds(key.fingerprint)
    assert await scene.kids() == ["k2"]


async def test_an_unknown_kid_while_the_provider_is_down_is_no_verdict(scene: Scene) -> None:
    """The provider may have begun to sign with it since."""
    await scene.first()
    scene.break_down()
    await scene.refuses("k2")
    assert await scene.kids("k1") == ["k1"]


async def test_the_wait_between_tries_doubles_up_to_half_a_minute(scene: Scene) -> None:
    scene.break_down()
    waits = []
    for _ in range(8):
        denied = await scene.refuses()
        wait = int(dict(denied.headers)["Retry-After"])
        waits.append(wait)
        scene.clock.advance(wait)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert scene.provider.fetches == 8


@pytest.mark.parametrize(
    "published", [[], [{"kty": "oct", "k": "AAAA"}], [public_jwk("oidc", use="enc")]]
)
async def test_a_set_without_a_usable_key_is_a_failure(
    scene: Scene, published: list[dict[str, object]]
) -> None:
    await scene.first()
    scene.provider.published = published
    scene.clock.advance(AGE)
    assert await scene.kids("k1") == ["k1"]
    assert "no usable key" in scene.keys.state().error


async def test_an_unexpected_error_is_a_failure_too(scene: Scene) -> None:
    scene.provider.failure = RuntimeError("a bug")
    await scene.refuses()
    scene.provider.failure = None
    scene.clock.advance(1)
    assert await scene.kids("k1") == ["k1"]


async def test_the_keeper_goes_on_after_failures(scene: Scene) -> None:
    scene.provider.failure = RuntimeError("a bug")
    keeper = asyncio.create_task(scene.keys.keep_fresh())
    await settle()
    scene.provider.failure = None
    scene.clock.advance(1)
    await asyncio.sleep(0.5)
    assert not keeper.done()
    keeper.cancel()


# --- what it says of itself


async def test_the_state_tells_what_an_operator_asks(scene: Scene) -> None:
    before = scene.keys.state()
    assert (before.usable, before.keys, before.age_seconds) == (False, 0, None)
    scene.provider.published = [ONE, {**TWO, "use": "enc"}]
    await scene.first()
    scene.clock.advance(5)
    state = scene.keys.state()
    assert (state.usable, state.keys, state.age_seconds) == (True, 1, 5)
    assert (state.fetches, state.failures, state.error) == (1, 0, "")
    assert state.skipped == ("keys[1]: use is not sig",)


async def test_an_outage_is_logged_once_and_so_is_its_end(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.break_down()
    for _ in range(5):
        await scene.refuses()
        scene.clock.advance(60)
    scene.provider.failure = None
    await scene.kids("k1")
    assert [record.getMessage() for record in caplog.records] == [
        "https://idp.example.org: keys cannot be fetched: https://idp.example.org/jwks: status 500",
        "https://idp.example.org: keys are available again",
    ]


async def test_closing_waits_for_the_flight(scene: Scene) -> None:
    scene.provider.gate.clear()
    asking = asyncio.create_task(scene.kids("k1"))
    await settle()
    closing = asyncio.create_task(scene.keys.close())
    await settle()
    assert not closing.done()
    scene.provider.gate.set()
    await closing
    assert await asking == ["k1"]
