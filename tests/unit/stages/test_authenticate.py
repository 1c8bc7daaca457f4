"""The order of the checks, the memory of verified tokens, and what is counted as a failure."""

import hashlib
import hmac
from collections.abc import Sequence

import pytest

from gateway.denial import Denied, Reason
from gateway.model import Identity, InboundRequest, Secret
from gateway.stages.authenticate import Authenticate
from gateway.token.keys import VerificationKey
from tests.fakes import FakeClock, make_request
from tests.tokens import (
    ISSUERS,
    METADATA,
    NOW,
    FakeAnonymous,
    FakeDenyList,
    FakeFailures,
    FakeKeys,
    base_claims,
    base_header,
    good_token,
    make_stage,
    make_token,
    public_jwk,
    trusted_issuer,
)

UNAVAILABLE = Denied(Reason.KEYS_UNAVAILABLE, "down", headers=(("Retry-After", "7"),))
THROTTLED = Denied(Reason.AUTHENTICATION_THROTTLED, headers=(("Retry-After", "9"),))


class CountingKeys(FakeKeys):
    """Notes every question, so that a test sees what the memory saved."""

    def __init__(self) -> None:
        super().__init__(public_jwk("oidc"))
        self.asked = 0

    async def keys_for(self, kid: str | None) -> Sequence[VerificationKey]:
        self.asked += 1
        return await super().keys_for(kid)


class Scene:
    """A stage with one issuer, and everything that it asks."""

    def __init__(self, cached_tokens: int = 100) -> None:
        self.keys = CountingKeys()
        self.clock = FakeClock(NOW)
        self.deny_list = FakeDenyList()
        self.failures = FakeFailures()
        self.anonymous = FakeAnonymous()
        self.stage = make_stage(
            trusted_issuer("oidc", self.keys),
            clock=self.clock,
            deny_list=self.deny_list,
            failures=self.failures,
            anonymous=self.anonymous,
            cached_tokens=cached_tokens,
        )

    async def sees(self, token: str) -> Identity:
        return await self.stage(bearing(token))

    async def refuses(self, token: str) -> Denied:
        with pytest.raises(Denied) as caught:
            await self.sees(token)
        return caught.value


def bearing(token: str) -> InboundRequest:
    return make_request(bearer=Secret(token))


async def test_an_identity_carries_what_the_token_says() -> None:
    token = good_token(acr="urn:mace:silver", auth_time=NOW - 900)
    identity = await Scene().sees(token)
    assert (identity.issuer, identity.subject) == (ISSUERS["oidc"], "subject-of-alice")
    assert (identity.client_id, identity.kind) == ("cli", "user")
    assert identity.groups == ("hpc-users",)
    assert (identity.issued_at, identity.expires) == (NOW - 60, NOW + 3600)
    assert (identity.token_id, identity.acr, identity.auth_time) == (
        "token-1",
        "urn:mace:silver",
        NOW - 900,
    )
    assert dict(identity.claims) == {
        **base_claims(),
        "acr": "urn:mace:silver",
        "auth_time": NOW - 900,
    }


async def test_verified_claims_cannot_be_changed() -> None:
    identity = await Scene().sees(good_token())
    with pytest.raises(TypeError):
        identity.claims["sub"] = "root"  # type: ignore[index]  # that is the point


async def test_without_credentials_the_challenge_has_no_error() -> None:
    with pytest.raises(Denied) as caught:
        await Scene().stage(make_request(bearer=None))
    assert caught.value.reason is Reason.TOKEN_MISSING
    assert caught.value.headers == (
        (
            "WWW-Authenticate",
            f'Bearer realm="slurm-gateway", resource_metadata="{METADATA}"',
        ),
    )


async def test_a_token_hash_is_keyed_and_half_a_sha256() -> None:
    token = good_token()
    identity = await Scene().sees(token)
    expected = hmac.new(b"k" * 32, token.encode(), hashlib.sha256).hexdigest()[:32]
    assert identity.token_hash == expected == Scene().stage.hash_token(token)


def test_any_text_has_a_token_hash() -> None:
    assert len(Scene().stage.hash_token("\udcff\x00 no token")) == 32


# --- the memory of verified tokens


async def test_a_verified_token_is_not_verified_again() -> None:
    scene = Scene()
    token = good_token()
    first = await scene.sees(token)
    assert await scene.sees(token) is first
    assert scene.keys.asked == 1
    assert len(scene.failures.checked) == 1


async def test_a_remembered_token_ends_when_a_new_one_would() -> None:
    """With the leeway, so that a token's age alone decides and not whether it was seen before."""
    scene = Scene()
    token = good_token()
    await scene.sees(token)
    scene.clock.now = NOW + 3600 + 29.9
    await scene.sees(token)
    scene.clock.now = NOW + 3600 + 30
    assert (await scene.refuses(token)).note == "expired"


async def test_a_key_that_left_the_key_set_ends_its_tokens() -> None:
    scene = Scene()
    token = good_token()
    await scene.sees(token)
    scene.keys.publish(public_jwk("spare", kid="k2"))
    assert (await scene.refuses(token)).reason is Reason.TOKEN_INVALID


async def test_a_key_that_was_replaced_under_its_kid_ends_its_tokens() -> None:
    scene = Scene()
    token = good_token()
    await scene.sees(token)
    scene.keys.publish(public_jwk("spare"))
    assert (await scene.refuses(token)).note == "the signature is wrong"


async def test_a_key_that_may_no_longer_sign_so_ends_its_tokens() -> None:
    scene = Scene()
    token = good_token()
    await scene.sees(token)
    scene.keys.publish(public_jwk("oidc", alg="RS512"))
    assert (await scene.refuses(token)).reason is Reason.TOKEN_INVALID


async def test_the_same_keys_published_again_end_nothing() -> None:
    scene = Scene()
    token = good_token()
    first = await scene.sees(token)
    scene.keys.publish(public_jwk("oidc"), public_jwk("spare", kid="k2"))
    assert await scene.sees(token) is first


async def test_a_remembered_token_is_refused_once_the_deny_list_names_it() -> None:
    scene = Scene()
    token = good_token()
    await scene.sees(token)
    scene.deny_list.subjects.add("subject-of-alice")
    assert (await scene.refuses(token)).note == "on the deny list by subject"
    scene.deny_list.subjects.clear()
    await scene.sees(token)


@pytest.mark.parametrize("ends", ["nothing", "denied", "key gone", "expired", "pushed out"])
async def test_an_identity_holds_for_as_long_as_its_token_would_pass_again(ends: str) -> None:
    """Without waiting: what has been forgotten does not hold either."""
    scene = Scene(cached_tokens=1)
    token = good_token()
    request, identity = bearing(token), await scene.sees(token)
    assert scene.stage.holds(request, identity)
    match ends:
        case "denied":
            scene.deny_list.subjects.add("subject-of-alice")
        case "key gone":
            scene.keys.publish()
        case "expired":
            scene.clock.advance(100_000)
        case "pushed out":
            await scene.sees(good_token(jti="token-2"))
    assert scene.stage.holds(request, identity) == (ends == "nothing")


async def test_nothing_holds_for_another_token_another_identity_or_none() -> None:
    scene = Scene()
    token, other = good_token(), good_token(jti="token-2")
    identity, another = await scene.sees(token), await scene.sees(other)
    assert not scene.stage.holds(bearing(token), another)
    assert not scene.stage.holds(bearing(other), identity)
    assert not scene.stage.holds(make_request(bearer=None), identity)


async def test_the_deny_list_refuses_a_token_that_was_never_seen() -> None:
    scene = Scene()
    scene.deny_list.subjects.add("subject-of-alice")
    denied = await scene.refuses(good_token())
    assert denied.reason is Reason.TOKEN_INVALID
    assert scene.failures.counted == ["192.0.2.7"]


async def test_the_memory_is_bounded_and_keeps_what_was_used_last() -> None:
    scene = Scene(cached_tokens=2)
    first, second, third = (good_token(jti=f"token-{number}") for number in range(3))
    for token in (first, second, first, third):
        await scene.sees(token)
    assert scene.keys.asked == 3
    await scene.sees(first)
    assert scene.keys.asked == 3, "the first token was used last but one, and is gone"
    await scene.sees(second)
    assert scene.keys.asked == 4, "the second token was not forgotten"


async def test_a_refused_token_is_not_remembered() -> None:
    scene = Scene()
    for _ in range(3):
        await scene.refuses(good_token(aud="other"))
    assert scene.keys.asked == 3


async def test_the_memory_holds_no_token() -> None:
    scene = Scene()
    token = good_token()
    await scene.sees(token)
    assert token.rpartition(".")[2] not in repr(vars(scene.stage))


async def test_another_stage_remembers_nothing() -> None:
    """A reload makes a new stage, so that new rules are asked about old tokens."""
    scene, reloaded = Scene(), Scene()
    token = good_token()
    await scene.sees(token)
    reloaded.keys.publish()
    await reloaded.refuses(token)


# --- failures and keys that cannot be had


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="empty"),
        pytest.param("a.b.c", id="junk"),
        pytest.param("x" * 20_000, id="too long"),
        pytest.param(good_token(aud="other"), id="well signed, for somebody else"),
        pytest.param(
            make_token(base_header(), base_claims(), "attacker"), id="signed by somebody else"
        ),
    ],
)
async def test_every_bad_token_is_counted_for_its_address(token: str) -> None:
    scene = Scene()
    await scene.refuses(token)
    assert scene.failures.checked == scene.failures.counted == ["192.0.2.7"]


async def test_a_good_token_is_not_counted() -> None:
    scene = Scene()
    await scene.sees(good_token())
    assert scene.failures.counted == []


async def test_an_address_with_too_many_failures_is_not_heard() -> None:
    scene = Scene()
    scene.failures.refusal = THROTTLED
    assert await scene.refuses(good_token()) is THROTTLED
    assert scene.keys.asked == 0
    assert scene.failures.counted == []


async def test_a_verified_token_is_heard_from_any_address() -> None:
    scene = Scene()
    token = good_token()
    first = await scene.sees(token)
    scene.failures.refusal = THROTTLED
    assert await scene.sees(token) is first


async def test_a_failure_is_counted_with_what_the_token_claims() -> None:
    scene = Scene()
    await scene.refuses(good_token("neighbour"))
    await scene.refuses("a.b.c")
    subjects = [attempt.unverified_subject for attempt in scene.failures.attempts]
    assert subjects == ["subject-of-alice", ""]
    assert scene.failures.counted == ["192.0.2.7"] * 2


async def test_a_genuine_token_that_has_ended_is_counted_apart() -> None:
    scene = Scene()
    scene.clock.now = NOW + 7200
    await scene.refuses(good_token())
    assert (scene.failures.counted, scene.failures.expired) == ([], ["192.0.2.7"])
    assert scene.failures.attempts[-1].claims_to_be_expired


async def test_a_forged_token_that_has_ended_is_counted_as_forged() -> None:
    scene = Scene()
    scene.clock.now = NOW + 7200
    scene.keys.publish(public_jwk("spare"))
    await scene.refuses(good_token())
    assert (scene.failures.counted, scene.failures.expired) == (["192.0.2.7"], [])


async def test_a_token_that_has_verified_is_trusted_by_the_budget() -> None:
    """So that it is heard again even where the memory of verified tokens has lost it."""
    scene = Scene(cached_tokens=1)
    token = good_token()
    await scene.sees(token)
    await scene.sees(good_token(jti="another"))
    scene.failures.refusal = THROTTLED
    await scene.sees(token)
    assert await scene.refuses(good_token(jti="unknown")) is THROTTLED


async def test_missing_credentials_are_no_failed_authentication() -> None:
    scene = Scene()
    with pytest.raises(Denied):
        await scene.stage(make_request(bearer=None))
    assert scene.failures.checked == scene.failures.counted == []


async def test_a_request_without_a_token_is_counted_by_its_address_and_one_with_any_token_is_not() -> (
    None
):
    scene = Scene()
    scene.anonymous.refusal = THROTTLED
    with pytest.raises(Denied) as caught:
        await scene.stage(make_request(bearer=None))
    assert caught.value is THROTTLED
    assert scene.anonymous.counted == [make_request().client_address]
    await scene.sees(good_token())
    await scene.refuses("a.b.c")
    assert len(scene.anonymous.counted) == 1


async def test_keys_that_cannot_be_had_are_no_verdict_on_the_token() -> None:
    scene = Scene()
    scene.keys.error = UNAVAILABLE
    assert await scene.refuses(good_token()) is UNAVAILABLE
    assert scene.failures.counted == []


async def test_keys_that_cannot_be_had_end_remembered_tokens_too() -> None:
    scene = Scene()
    token = good_token()
    await scene.sees(token)
    scene.keys.error = UNAVAILABLE
    assert await scene.refuses(token) is UNAVAILABLE


async def test_keys_are_not_asked_for_a_token_that_no_key_could_save() -> None:
    """So that junk costs neither a fetch nor a signature check."""
    scene = Scene()
    for token in ("a.b.c", good_token(iss="https://attacker.example"), good_token("neighbour")):
        await scene.refuses(token)
    await scene.refuses(
        make_token({**base_header(), "alg": "HS256"}, base_claims(), "hmac:pem", "HS256")
    )
    assert scene.keys.asked == 0


async def test_an_unexpected_error_is_not_an_identity() -> None:
    scene = Scene()
    scene.keys.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await scene.sees(good_token())


def test_a_challenge_that_could_not_be_quoted_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="resource_metadata"):
        Authenticate(
            [],
            FakeDenyList(),
            FakeFailures(),
            FakeClock(),
            anonymous=FakeAnonymous(),
            resource_metadata='https://x.example/"',
            maximum_token_bytes=1,
            cached_tokens=1,
            hash_key=b"",
        )
