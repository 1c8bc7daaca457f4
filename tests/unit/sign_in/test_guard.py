"""A browser's session at the first stage: whose it is, for how long, and what ends it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.model import Browser, Identity, Secret
from gateway.sign_in.contents import Contents, open_contents, seal_contents
from gateway.sign_in.guard import FRESH_SECONDS, Lifetimes
from gateway.sign_in.provider import ProviderDoubt, ProviderRefused
from gateway.sign_in.sealing import Sealer
from gateway.sign_in.session import Session, hash_of
from gateway.sign_in.session_id import SessionIds
from gateway.stages.authenticate import Authenticate
from tests.fakes import make_request
from tests.sign_in_world import ABSOLUTE, CHECK, GRACE, IDLE, KEYS, World
from tests.tokens import METADATA, FakeAnonymous, FakeDenyList

ID = SessionIds(KEYS).new()


@pytest.fixture
async def world() -> World:
    made = World()
    now, id_hash = made.clock(), hash_of(ID)
    claims = {"sub": "alice-sub", "preferred_username": "alice", "groups": ["hpc"], "acr": "2"}
    contents = Contents(claims, "id-token", "rt")
    issuer = made.clients["campus"].rules.issuer
    session = Session(
        id_hash, "campus", issuer, "alice-sub", "", now, now, now + ABSOLUTE, now, "", "", b""
    )
    made.store.sessions[id_hash] = seal_contents(contents, session, made.sealer)
    made.providers["campus"].claims = {"groups": ["hpc"], "acr": None, "auth_time": None}
    return made


def browser(session: str = ID) -> Browser:
    return Browser(Secret(session), "same-origin", False, "")


def stage_of(world: World, anonymous: FakeAnonymous | None = None) -> Authenticate:
    return Authenticate(
        [],
        FakeDenyList(),
        world.failures,
        world.clock,
        anonymous=anonymous or FakeAnonymous(),
        resource_metadata=METADATA,
        maximum_token_bytes=16_384,
        cached_tokens=10,
        hash_key=b"k" * 32,
        sessions=world.guard,
    )


async def whose(world: World, **changes: object) -> Identity:
    return await stage_of(world)(make_request(bearer=None, browser=browser(), **changes))


async def refusal(world: World, presented: Browser | None = None) -> Denied:
    with pytest.raises(Denied) as caught:
        await stage_of(world)(make_request(bearer=None, browser=presented or browser()))
    return caught.value


async def test_a_session_is_the_identity_that_its_claims_say(world: World) -> None:
    identity = await whose(world)
    assert (identity.subject, identity.groups, identity.kind) == ("alice-sub", ("hpc",), "user")
    assert identity.issuer == "https://campus.example.org"
    assert identity.expires == world.clock() + ABSOLUTE
    assert identity.token_hash == f"session:{hash_of(ID)[:16]}"
    assert identity.acr == "2"


async def test_the_identity_is_one_object_while_nothing_changes(world: World) -> None:
    """What map_user and the audit remember, they remember by it."""
    first = await whose(world)
    world.clock.advance(FRESH_SECONDS)
    assert await whose(world) is first


async def test_the_store_is_asked_once_a_second(world: World) -> None:
    for _ in range(5):
        await whose(world)
    assert world.store.finds == 1
    world.clock.advance(FRESH_SECONDS)
    await whose(world)
    assert world.store.finds == 2


async def test_a_session_ended_elsewhere_is_refused_within_a_second(world: World) -> None:
    await whose(world)
    await world.store.end(hash_of(ID))
    world.clock.advance(FRESH_SECONDS)
    denied = await refusal(world)
    assert denied.reason is Reason.SESSION_ENDED
    assert dict(denied.headers)["WWW-Authenticate"].startswith("Bearer realm=")


async def test_an_unknown_session_is_refused_without_its_id(world: World) -> None:
    denied = await refusal(world, browser("x" * 43))
    assert denied.reason is Reason.SESSION_ENDED
    assert "xxx" not in denied.note


async def test_an_id_that_was_not_made_here_is_a_failed_authentication_and_never_looked_up(
    world: World,
) -> None:
    """Anybody can send as many as they like; each would be a read of the store."""
    for count in (1, 2):
        assert (await refusal(world, browser("x" * 43))).reason is Reason.SESSION_ENDED
        assert len(world.failures.counted) == count
    assert world.store.finds == 0
    subjects = {one.unverified_subject for one in world.failures.attempts}
    assert len(subjects) == 1
    assert "xxx" not in str(subjects)
    world.failures.refusal = Denied(Reason.AUTHENTICATION_THROTTLED)
    assert (await refusal(world, browser("x" * 43))).reason is Reason.AUTHENTICATION_THROTTLED


async def test_a_good_session_is_heard_whatever_else_its_address_does(world: World) -> None:
    world.failures.refusal = Denied(Reason.AUTHENTICATION_THROTTLED)
    assert (await whose(world)).subject == "alice-sub"
    assert world.failures.attempts == []
    await world.store.end(hash_of(ID))
    world.clock.advance(FRESH_SECONDS)
    assert (await refusal(world)).reason is Reason.SESSION_ENDED
    assert world.failures.counted == [], "one that has ended was somebody's"


async def test_without_a_session_a_browser_gets_the_challenge_of_everybody(world: World) -> None:
    denied = await refusal(world, Browser(None, "none", True, ""))
    assert denied.reason is Reason.TOKEN_MISSING


async def test_use_is_written_now_and_then_and_keeps_the_session(world: World) -> None:
    for _ in range(4):
        world.clock.advance(IDLE * 0.9)
        await whose(world)
    assert world.store.sessions[hash_of(ID)].last_used == world.clock()


async def test_what_is_remembered_of_a_session_does_not_outlive_it(world: World) -> None:
    id_hash = hash_of(ID)
    ends = world.clock() + FRESH_SECONDS / 2
    held = world.store.sessions[id_hash]
    contents = open_contents(held, world.sealer)
    world.store.sessions[id_hash] = seal_contents(contents, replace(held, ends=ends), world.sealer)
    await whose(world)
    world.clock.advance(FRESH_SECONDS / 2)
    assert (await refusal(world)).reason is Reason.SESSION_ENDED


async def test_somebody_who_is_put_on_the_deny_list_loses_the_session(world: World) -> None:
    await whose(world)
    world.deny_list.subjects = {"alice-sub"}
    assert (await refusal(world)).reason is Reason.SESSION_ENDED
    assert world.store.sessions == {}


async def test_a_store_that_cannot_be_asked_is_no_verdict(world: World) -> None:
    world.store.is_broken = True
    denied = await refusal(world)
    assert denied.reason is Reason.SESSIONS_UNAVAILABLE
    assert ("Retry-After", "5") in denied.headers


async def test_a_session_of_another_key_row_or_client_is_of_no_use(world: World) -> None:
    id_hash = hash_of(ID)
    good = world.store.sessions[id_hash]
    other_key = Sealer([b"x" * 32], "sessions").seal(b"[{}, '', '']", id_hash)
    moved = world.sealer.seal(b"[{}, '', '']", "another row")
    bad = [
        replace(good, sealed=other_key),
        replace(good, sealed=moved),
        replace(good, sealed=b""),
        replace(good, client="gone"),
        replace(good, issuer="https://other.example.org"),
    ]
    for one in bad:
        world.store.sessions[id_hash] = one
        world.guard.forget([id_hash])
        assert (await refusal(world)).reason is Reason.SESSION_ENDED


async def test_a_replaced_key_still_opens_what_the_old_one_sealed(world: World) -> None:
    session = world.store.sessions[hash_of(ID)]
    both = Sealer([b"n" * 32, *KEYS], "sessions")
    assert open_contents(session, both).refresh_token == "rt"


# ---- the provider's word


async def test_many_requests_refresh_once_and_the_token_is_rotated(world: World) -> None:
    provider = world.providers["campus"]
    provider.gate = asyncio.Event()
    world.clock.advance(CHECK)
    tasks = [asyncio.create_task(whose(world)) for _ in range(20)]
    await asyncio.sleep(0.01)
    provider.gate.set()
    await asyncio.gather(*tasks)
    assert provider.refreshed == ["rt"]
    world.clock.advance(CHECK)
    await whose(world)
    assert provider.refreshed == ["rt", "rt-1"]


async def test_a_refresh_reads_the_claims_anew_but_not_how_strongly_somebody_signed_in(
    world: World,
) -> None:
    provider = world.providers["campus"]
    provider.claims = {"groups": ["hpc", "operators"], "acr": "9", "auth_time": 1_800_000_300}
    world.clock.advance(CHECK)
    identity = await whose(world)
    assert identity.groups == ("hpc", "operators")
    assert identity.acr == "2"
    assert identity.auth_time is None


@pytest.mark.parametrize(
    "change",
    [
        {"claims": {"sub": "bob-sub"}},
        {"claims": {"aud": "another"}},
        {"info": {"sub": "bob-sub"}},
        {"key": "rsa:another"},
        {"error": ProviderRefused("invalid_grant")},
    ],
)
async def test_a_refresh_that_the_provider_or_the_token_denies_ends_the_session(
    world: World, change: dict[str, object]
) -> None:
    for name, value in change.items():
        setattr(world.providers["campus"], name, value)
    world.clock.advance(CHECK)
    assert (await refusal(world)).reason is Reason.SESSION_ENDED
    assert world.store.sessions == {}


async def test_a_provider_that_is_down_is_waited_for_and_then_no_more(world: World) -> None:
    world.providers["campus"].error = ProviderDoubt("down")
    world.clock.advance(CHECK)
    assert (await whose(world)).subject == "alice-sub"
    world.clock.advance(FRESH_SECONDS)
    await whose(world)
    assert len(world.providers["campus"].refreshed) == 1, "not asked again at once"
    world.clock.advance(GRACE)
    denied = await refusal(world)
    assert denied.reason is Reason.PROVIDER_UNAVAILABLE
    world.providers["campus"].error = None
    world.clock.advance(10)
    assert (await whose(world)).subject == "alice-sub"


async def test_a_mistake_of_the_gateways_own_ends_nobodys_session(world: World) -> None:
    world.providers["campus"].error = ProviderRefused("invalid_client")
    world.clock.advance(CHECK)
    assert (await whose(world)).subject == "alice-sub"
    assert len(world.store.sessions) == 1


async def test_a_token_that_another_process_has_used_ends_nothing(world: World) -> None:
    id_hash = hash_of(ID)
    provider = world.providers["campus"]
    provider.error = ProviderRefused("invalid_grant")
    provider.gate = asyncio.Event()
    world.clock.advance(CHECK)
    task = asyncio.create_task(whose(world))
    await asyncio.sleep(0.01)
    held = world.store.sessions[id_hash]
    fresh = Contents({"sub": "alice-sub", "groups": ["new"]}, "", "rt-other")
    held = replace(held, version=2, checked=world.clock())
    world.store.sessions[id_hash] = seal_contents(fresh, held, world.sealer)
    provider.gate.set()
    assert (await task).groups == ("new",)


async def test_a_session_without_a_refresh_token_lives_by_its_own_limits(world: World) -> None:
    id_hash = hash_of(ID)
    claims = {"sub": "alice-sub"}
    held = world.store.sessions[id_hash]
    world.store.sessions[id_hash] = seal_contents(Contents(claims), held, world.sealer)
    world.clock.advance(CHECK)
    await whose(world)
    assert world.providers["campus"].refreshed == []


async def test_a_new_refresh_token_is_kept_even_if_what_follows_fails(world: World) -> None:
    provider = world.providers["campus"]

    provider.is_userinfo_down = True
    world.clock.advance(CHECK)
    await whose(world)
    session = world.store.sessions[hash_of(ID)]
    assert open_contents(session, world.sealer).refresh_token == "rt-1"
    assert open_contents(session, world.sealer).claims["preferred_username"] == "alice"


async def test_only_a_session_that_is_none_counts_as_a_request_without_a_token(
    world: World,
) -> None:
    anonymous = FakeAnonymous()
    anonymous.refusal = Denied(Reason.ANONYMOUS_THROTTLED)
    stage = stage_of(world, anonymous)
    await stage(make_request(bearer=None, browser=browser()))
    assert anonymous.counted == []
    with pytest.raises(Denied) as caught:
        await stage(make_request(bearer=None, browser=browser("x" * 43)))
    assert caught.value.reason is Reason.ANONYMOUS_THROTTLED
    assert len(anonymous.counted) == 1


async def test_a_refresh_without_an_id_token_reads_userinfo_anew_all_the_same(
    world: World,
) -> None:
    """Many providers leave the ID token out of it; who has left a group there must lose it here."""
    provider, id_hash = world.providers["campus"], hash_of(ID)
    claims = {"sub": "alice-sub", "groups": ["hpc", "operators"], "tenant": "t", "acr": "2"}
    id_token = provider.id_token("n", groups=None, tenant="t")
    contents, held = Contents(claims, id_token, "rt"), world.store.sessions[id_hash]
    world.store.sessions[id_hash] = seal_contents(contents, held, world.sealer)
    assert (await whose(world)).groups == ("hpc", "operators")
    provider.tokens = {"id_token": ""}
    provider.info = {"sub": "alice-sub", "groups": ["hpc"]}
    for _ in range(2):
        world.clock.advance(CHECK)
        identity = await whose(world)
        assert identity.groups == ("hpc",)
        assert identity.claims["tenant"] == "t", "what the ID token said of her stays"
        assert identity.acr == "2"


async def test_a_session_that_is_ended_while_it_is_refreshed_is_over(world: World) -> None:
    provider = world.providers["campus"]
    provider.gate = asyncio.Event()
    world.clock.advance(CHECK)
    task = asyncio.create_task(refusal(world))
    await asyncio.sleep(0.01)
    await world.store.end(hash_of(ID))
    provider.gate.set()
    assert (await task).reason is Reason.SESSION_ENDED


@pytest.mark.parametrize(
    "error", [ProviderRefused("invalid_client"), Denied(Reason.KEYS_UNAVAILABLE, "no keys")]
)
async def test_a_provider_that_could_not_help_is_not_asked_again_at_once(
    world: World, error: Exception
) -> None:
    """A provider that refuses the gateway once a second for each session may come to shut it out."""
    world.providers["campus"].error = error
    world.clock.advance(CHECK)
    for _ in range(3):
        assert (await whose(world)).subject == "alice-sub"
        world.clock.advance(FRESH_SECONDS)
    assert len(world.providers["campus"].refreshed) == 1


# ---- limits


async def test_a_shorter_absolute_limit_holds_for_the_sessions_that_there_are(
    world: World,
) -> None:
    """A reload makes a new guard over the same sessions."""
    world.guard = world.guard_with(Lifetimes(IDLE, 100.0))
    assert (await whose(world)).expires == world.clock() + 100
    world.clock.advance(100)
    assert (await refusal(world)).reason is Reason.SESSION_ENDED


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "bob-sub"},
        {"ends": 1_900_000_000.0},
        {"created": 1_800_000_001.0},
        {"client": "partner", "issuer": "https://partner.example.org"},
    ],
)
async def test_a_row_that_somebody_has_changed_is_of_no_use(
    world: World, change: dict[str, Any]
) -> None:
    """Who may write the file, but has no key, cannot make one person's session another's."""
    id_hash = hash_of(ID)
    world.store.sessions[id_hash] = replace(world.store.sessions[id_hash], **change)
    assert (await refusal(world)).reason is Reason.SESSION_ENDED
