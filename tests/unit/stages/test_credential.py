"""No credential outlives its caller, serves another user, or names one that is never acted as."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from gateway.denial import Denied, Reason
from gateway.model import Secret, UpstreamCredential
from gateway.slurm_token import SlurmKey
from gateway.stages import credential as credential_stage
from gateway.stages.credential import Attach, Impersonate, Mint, MintTerms, Passthrough
from tests.fake_users import (
    ALICE,
    KEY_BYTES,
    FakeIds,
    FakeSigningKey,
    FakeTokens,
    make_token,
)
from tests.fakes import ISSUER, FakeClock, make_identity, make_user

NOW = 1_800_000_000.0
CHALLENGE = 'Bearer realm="slurm-gateway", error="invalid_token"'


def mint(
    *,
    lifetime: float = 120,
    leeway: float = 30,
    key: FakeSigningKey | None = None,
    clock: FakeClock | None = None,
    ids: FakeIds | None = None,
) -> Mint:
    terms = MintTerms(lifetime, {ISSUER: leeway}, CHALLENGE, frozenset({"slurm"}))
    return Mint(key or FakeSigningKey(), terms, clock or FakeClock(NOW), ids)


async def issue(
    strategy: Any, *, left: float = 3600, now: float = NOW, user: str = "alice"
) -> UpstreamCredential:
    issued: UpstreamCredential = await strategy(
        make_identity(expires=now + left), make_user(user), Secret("caller.own.token")
    )
    return issued


def claims_of(issued: UpstreamCredential, key: bytes = KEY_BYTES) -> dict[str, Any]:
    return jwt.decode(issued.token.reveal, OctKey.import_key(key), algorithms=["HS256"]).claims


async def denial(strategy: Any, **how: Any) -> Denied:
    with pytest.raises(Denied) as caught:
        await issue(strategy, **how)
    return caught.value


async def test_a_minted_token_names_the_user_and_its_times_and_nothing_else() -> None:
    issued = await issue(mint())
    assert issued.user == "alice"
    assert claims_of(issued) == {"sun": "alice", "iat": NOW, "exp": NOW + 120}


@pytest.mark.parametrize(
    ("left", "lifetime", "leeway", "minted"),
    [
        (3600, 120, 30, 120),
        (90, 120, 30, 120),
        (89, 120, 30, 119),
        (60, 120, 0, 60),
        (60, 120, 30, 90),
        (-25, 120, 30, 5),
        (5, 120, 0, 5),
        (60.9, 120, 0, 60),
        (3600, 10, 30, 10),
    ],
)
async def test_a_token_ends_with_its_lifetime_or_its_caller_whichever_is_sooner(
    left: float, lifetime: float, leeway: float, minted: int
) -> None:
    issued = await issue(mint(lifetime=lifetime, leeway=leeway), left=left)
    assert claims_of(issued)["exp"] == NOW + minted


@pytest.mark.parametrize(("left", "leeway"), [(4.9, 0), (0, 0), (-26, 30), (-1e6, 30)])
async def test_a_caller_with_under_five_seconds_left_is_challenged_before_the_key_is_read(
    left: float, leeway: float
) -> None:
    key = FakeSigningKey()
    key.key = None
    refusal = await denial(mint(leeway=leeway, key=key), left=left)
    assert refusal.reason is Reason.TOKEN_EXPIRING
    assert refusal.headers == (("WWW-Authenticate", CHALLENGE),)


async def test_an_issuer_without_leeway_has_none() -> None:
    strategy = mint(leeway=30)
    identity = make_identity(issuer="https://other.example.org", expires=NOW + 60)
    issued = await strategy(identity, make_user(), None)
    assert claims_of(issued)["exp"] == NOW + 60


async def test_a_token_is_used_again_until_it_has_thirty_seconds_left() -> None:
    clock = FakeClock(NOW)
    strategy = mint(clock=clock)
    first = await issue(strategy)
    clock.advance(90)
    assert await issue(strategy) is first
    clock.advance(0.1)
    assert claims_of(await issue(strategy))["exp"] == int(NOW + 90.1) + 120


async def test_a_token_is_never_used_again_beyond_the_callers_own_cap() -> None:
    strategy = mint(leeway=0)
    long = await issue(strategy, left=3600)
    short = await issue(strategy, left=60)
    assert claims_of(short)["exp"] == NOW + 60
    assert await issue(strategy, left=60) is short
    assert await issue(strategy, left=3600) is long
    assert claims_of(await issue(strategy, left=59))["exp"] == NOW + 59


async def test_a_token_that_leaves_the_gateway_is_new_short_and_remembered_nowhere() -> None:
    strategy = mint(leeway=0)
    held = await issue(strategy)
    one = await strategy.hand_out(make_identity(expires=NOW + 3600), make_user(), 600)
    claims = claims_of(UpstreamCredential("alice", one.token))
    assert claims == {"sun": "alice", "iat": NOW, "exp": NOW + 600}
    assert one.expires == NOW + 600
    assert one.token.reveal not in repr(one)
    assert await issue(strategy) is held
    short = await strategy.hand_out(make_identity(expires=NOW + 60), make_user(), 600)
    assert short.expires == NOW + 60


@pytest.mark.parametrize(
    ("user", "left", "reason"),
    [
        ("root", 3600, Reason.USER_FORBIDDEN),
        ("slurm", 3600, Reason.USER_FORBIDDEN),
        ("alice", 4, Reason.TOKEN_EXPIRING),
    ],
)
async def test_nobody_is_handed_a_token_that_they_could_not_be_served_with(
    user: str, left: float, reason: Reason
) -> None:
    with pytest.raises(Denied) as caught:
        await mint(leeway=0).hand_out(make_identity(expires=NOW + left), make_user(user), 600)
    assert caught.value.reason is reason


async def test_users_never_share_a_token() -> None:
    strategy = mint()
    alice, bob = await issue(strategy), await issue(strategy, user="bob")
    assert (claims_of(alice)["sun"], claims_of(bob)["sun"]) == ("alice", "bob")


async def test_a_new_key_ends_every_token_of_the_old_one() -> None:
    key = FakeSigningKey()
    strategy = mint(key=key)
    await issue(strategy)
    key.key = SlurmKey(b"n" * 32)
    assert claims_of(await issue(strategy), b"n" * 32)["sun"] == "alice"


async def test_without_a_key_nothing_is_issued_not_even_what_was_minted_before() -> None:
    key = FakeSigningKey()
    strategy = mint(key=key)
    await issue(strategy)
    key.key = None
    refusal = await denial(strategy)
    assert refusal.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert dict(refusal.headers).keys() == {"Retry-After"}
    assert refusal.note == "/etc/slurm/jwt_hs256.key cannot be read"


async def test_the_memory_of_minted_tokens_is_bounded() -> None:
    strategy = mint()
    for number in range(credential_stage.MAXIMUM_MINTED + 10):
        await issue(strategy, user=f"u{number}")
    assert len(strategy._minted) == credential_stage.MAXIMUM_MINTED


NEVER = ["root", "slurm", "nobody", "", "Alice", "alice\n", "0", "a@b", "a" * 33]
STRATEGIES: Mapping[str, Any] = {
    "mint": mint(),
    "attach": Attach(
        FakeTokens({user: make_token(user, NOW + 600) for user in NEVER}),
        FakeClock(NOW),
        frozenset({"slurm"}),
    ),
    "impersonate": Impersonate(
        FakeTokens({"": make_token("slurm", NOW + 600)}), FakeClock(NOW), frozenset({"slurm"})
    ),
    "passthrough": Passthrough(FakeClock(NOW), CHALLENGE, frozenset({"slurm"})),
}


@pytest.mark.parametrize("user", NEVER)
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
async def test_no_strategy_issues_for_a_name_that_is_never_acted_as(
    strategy: Any, user: str
) -> None:
    assert (await denial(strategy, user=user)).reason is Reason.USER_FORBIDDEN


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
async def test_a_credential_shows_its_token_to_nobody(strategy: Any) -> None:
    if strategy is STRATEGIES["attach"]:
        strategy = Attach(FakeTokens({"alice": make_token("alice", NOW + 600)}), FakeClock(NOW))
    issued = await issue(strategy)
    assert issued.token.reveal not in repr(issued)


async def test_ids_are_told_to_a_slurm_that_has_no_directory() -> None:
    claims = claims_of(await issue(mint(ids=FakeIds())))
    assert (claims["uid"], claims["gid"]) == (1001, 1001)
    assert claims["id"] == {
        "name": "alice",
        "gecos": "Alice",
        "dir": "/home/alice",
        "shell": "/bin/bash",
        "gids": [1001, 100],
    }


async def test_no_text_of_the_ids_is_empty_which_slurm_would_refuse() -> None:
    bare = ALICE._replace(gecos="", home="", shell="")
    told = claims_of(await issue(mint(ids=FakeIds(bare))))["id"]
    assert (told["gecos"], told["dir"], told["shell"]) == ("alice", "/", "/bin/sh")


@pytest.mark.parametrize("ids", [FakeIds(ALICE._replace(uid=0)), FakeIds(ALICE._replace(name="b"))])
async def test_ids_that_nobody_checked_are_not_told(ids: FakeIds) -> None:
    assert (await denial(mint(ids=ids))).reason is Reason.CREDENTIAL_UNAVAILABLE


def attach(token: Any) -> Attach:
    return Attach(FakeTokens({"": token} if token else {}), FakeClock(NOW))


async def test_an_attached_token_serves_its_own_user() -> None:
    issued = await issue(attach(make_token("alice", NOW + 5)))
    assert (issued.user, issued.token.reveal) == ("alice", "canary-slurm-token")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (make_token("bob", NOW + 600), Reason.CREDENTIAL_USER_MISMATCH),
        (make_token("slurm", NOW + 600), Reason.CREDENTIAL_USER_MISMATCH),
        (make_token("Alice", NOW + 600), Reason.CREDENTIAL_USER_MISMATCH),
        (make_token("alice", NOW + 4), Reason.CREDENTIAL_UNAVAILABLE),
        (make_token("alice", NOW - 600), Reason.CREDENTIAL_UNAVAILABLE),
        (None, Reason.CREDENTIAL_UNAVAILABLE),
    ],
)
async def test_an_attached_token_that_is_anothers_or_over_is_not_sent(
    token: Any, reason: Reason
) -> None:
    assert (await denial(attach(token))).reason is reason


async def test_one_slurm_user_token_acts_as_everybody() -> None:
    strategy = STRATEGIES["impersonate"]
    alice, bob = await issue(strategy), await issue(strategy, user="bob")
    assert (alice.user, bob.user) == ("alice", "bob")
    assert alice.token.reveal == bob.token.reveal == "canary-slurm-token"


async def test_an_expired_slurm_user_token_is_not_sent() -> None:
    strategy = Impersonate(FakeTokens({"": make_token("slurm", NOW + 4)}), FakeClock(NOW))
    assert (await denial(strategy)).reason is Reason.CREDENTIAL_UNAVAILABLE


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({}, None),
        ({"sun": "alice"}, None),
        ({"username": "alice"}, None),
        ({"sun": "alice", "username": "bob"}, None),
        ({"sun": "bob", "username": "alice"}, Reason.CREDENTIAL_USER_MISMATCH),
        ({"sun": "root"}, Reason.CREDENTIAL_USER_MISMATCH),
        ({"username": "slurm"}, Reason.CREDENTIAL_USER_MISMATCH),
        ({"sun": ""}, Reason.CREDENTIAL_USER_MISMATCH),
        ({"sun": 7}, Reason.CREDENTIAL_USER_MISMATCH),
    ],
)
async def test_the_callers_token_is_passed_on_unless_slurm_would_read_another_user_from_it(
    claims: dict[str, object], reason: Reason | None
) -> None:
    identity = make_identity(expires=NOW + 5, claims=claims)
    bearer = Secret("caller.own.token")
    strategy = Passthrough(FakeClock(NOW), CHALLENGE)
    if reason is None:
        credential = await strategy(identity, make_user(), bearer)
        assert (credential.user, credential.token) == ("alice", bearer)
        assert credential.is_callers
        return
    with pytest.raises(Denied) as caught:
        await strategy(identity, make_user(), bearer)
    assert caught.value.reason is reason


async def test_slurm_grants_no_leeway_to_a_token_that_is_passed_on() -> None:
    strategy = Passthrough(FakeClock(NOW), CHALLENGE)
    refusal = await denial(strategy, left=4.9)
    assert (refusal.reason, refusal.headers[0][0]) == (Reason.TOKEN_EXPIRING, "WWW-Authenticate")


async def test_without_a_bearer_there_is_nothing_to_pass_on() -> None:
    with pytest.raises(Denied) as caught:
        await Passthrough(FakeClock(NOW), CHALLENGE)(
            make_identity(expires=NOW + 60), make_user(), None
        )
    assert caught.value.reason is Reason.CREDENTIAL_UNAVAILABLE


@given(
    lefts=st.lists(st.floats(-100, 4000), min_size=1, max_size=8),
    pauses=st.lists(st.floats(0, 200), min_size=8, max_size=8),
    lifetime=st.floats(10, 3600),
    leeway=st.floats(0, 60),
)
async def test_whatever_came_before_a_token_never_outlives_its_caller_or_ends_too_soon(
    lefts: list[float], pauses: list[float], lifetime: float, leeway: float
) -> None:
    clock = FakeClock(NOW)
    strategy = mint(lifetime=lifetime, leeway=leeway, clock=clock)
    for left, pause in zip(lefts, pauses, strict=False):
        clock.advance(pause)
        issued, end = None, clock.now + left + leeway
        with suppress(Denied):
            issued = await issue(strategy, left=left, now=clock.now)
        # The fraction of a second decides around five seconds, and is a refusal or not.
        assert issued is not None or end - clock.now < 6
        if issued is not None:
            expires = claims_of(issued)["exp"]
            assert clock.now + 4 <= expires <= min(end, clock.now + lifetime)
