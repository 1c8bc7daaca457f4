"""A provider says that somebody has left: which words are believed, and whose sessions end."""

from typing import Any

import httpx2
import pytest

from gateway.denial import Denied, Reason
from gateway.sign_in.logout_token import EVENT
from tests.sign_in_world import World
from tests.tokens import make_token

PATH = "/login/backchannel/campus"
HEADER = {"alg": "RS256", "kid": "k1", "typ": "logout+jwt"}


@pytest.fixture
def world() -> World:
    return World()


def logout(world: World, header: Any = None, key: str = "oidc", **changes: Any) -> dict[str, str]:
    now = int(world.clock())
    claims = {
        "iss": "https://campus.example.org",
        "aud": "client-campus",
        "iat": now,
        "exp": now + 120,
        "jti": "j1",
        "sub": "alice-sub",
        "events": {EVENT: {}},
        **changes,
    }
    present = {name: value for name, value in claims.items() if value is not None}
    return {"logout_token": make_token(header or HEADER, present, key)}


async def post(world: World, form: dict[str, str]) -> httpx2.Response:
    """As a provider does: no browser, no cookie."""
    transport = httpx2.ASGITransport(app=world.application, client=("192.0.2.9", 40000))
    async with httpx2.AsyncClient(transport=transport, base_url="https://x") as provider:
        return await provider.post(PATH, data=form)


@pytest.mark.parametrize(
    "named",
    [{}, {"sub": None, "sid": "provider-session"}, {"sid": "provider-session"}],
)
async def test_who_has_left_there_has_left_here(world: World, named: dict[str, Any]) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    assert (await browser.get("/me")).status_code == 200
    answer = await post(world, logout(world, **named))
    assert (answer.status_code, answer.text) == (200, "")
    assert answer.headers["cache-control"] == "no-store"
    assert world.store.sessions == {}
    assert (await browser.get("/me")).status_code == 303, "at once, and not a second later"


async def test_sessions_of_others_and_of_other_issuers_stay(world: World) -> None:
    await world.sign_in(world.browser())
    await world.sign_in(world.browser(), "partner")
    assert (await post(world, logout(world, sub="bob-sub"))).status_code == 200
    assert len(world.store.sessions) == 2
    await post(world, logout(world, jti="j2"))
    assert [one.client for one in world.store.sessions.values()] == ["partner"]


async def test_a_token_is_good_once(world: World) -> None:
    form = logout(world)
    assert (await post(world, form)).status_code == 200
    await world.sign_in(world.browser())
    again = await post(world, form)
    assert again.status_code == 400
    assert world.last.note == "jti was used before"
    assert len(world.store.sessions) == 1


BAD: list[tuple[str, dict[str, Any]]] = [
    ("typ", {"header": {"alg": "RS256", "kid": "k1", "typ": "at+jwt"}}),
    ("alg", {"header": {"alg": "none"}}),
    ("signature", {"key": "rsa:another"}),
    ("aud", {"aud": "another"}),
    ("iss", {"iss": "https://partner.example.org"}),
    ("nonce", {"nonce": "n"}),
    ("events", {"events": None}),
    ("events", {"events": {"other": {}}}),
    ("events", {"events": {EVENT: True}}),
    ("neither", {"sub": None}),
    ("jti", {"jti": None}),
    ("exp", {"exp": None}),
    ("iat", {"iat": None}),
    ("expired", {"iat": 1_799_999_000, "exp": 1_799_999_100}),
    ("future", {"iat": 1_800_000_100, "exp": 1_800_000_200}),
    ("too long", {"exp": 1_800_086_400}),
]


@pytest.mark.parametrize(("note", "changes"), BAD)
async def test_a_word_that_is_not_the_providers_ends_nothing(
    world: World, note: str, changes: dict[str, Any]
) -> None:
    await world.sign_in(world.browser())
    answer = await post(world, logout(world, **changes))
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert world.last.code == Reason.LOGOUT_TOKEN_INVALID.code
    assert note in world.last.note
    assert note not in answer.text or note in Reason.LOGOUT_TOKEN_INVALID.sentence
    assert len(world.store.sessions) == 1


async def test_an_id_token_is_no_logout_token(world: World) -> None:
    await world.sign_in(world.browser())
    id_token = world.providers["campus"].id_token("n")
    assert (await post(world, {"logout_token": id_token})).status_code == 400
    assert len(world.store.sessions) == 1


@pytest.mark.parametrize("form", [{}, {"logout_token": ""}, {"logout_token": "x" * 60_000}])
async def test_no_token_is_refused(world: World, form: dict[str, str]) -> None:
    assert (await post(world, form)).status_code in (400, 415)


async def test_a_form_without_end_is_cut_off(world: World) -> None:
    answer = await post(world, {"logout_token": "x" * 1_000_000})
    assert answer.status_code == 413
    assert world.last.code == "body-too-large"


async def test_a_doubt_is_told_as_one_so_that_the_provider_may_try_again(world: World) -> None:
    world.store.is_broken = True
    assert (await post(world, logout(world))).status_code == 503
    world.store.is_broken = False
    world.keys.error = Denied(Reason.KEYS_UNAVAILABLE)
    assert (await post(world, logout(world))).status_code == 503


async def test_an_issuer_that_is_none_is_a_page_that_is_none(world: World) -> None:
    transport = httpx2.ASGITransport(app=world.application)
    async with httpx2.AsyncClient(transport=transport, base_url="https://x") as provider:
        answer = await provider.post("/login/backchannel/nobody", data=logout(world))
    assert answer.json()["code"] == "page-unknown"
