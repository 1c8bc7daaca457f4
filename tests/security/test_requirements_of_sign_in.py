"""What the standards ask of whoever signs people in with a browser, from the login to its end; see docs/security.md."""

import re
import time
import tomllib
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.sign_in.logout_token import EVENT
from gateway.web.sign_in.house import Leave
from tests.running import client_of, gateway_of, running
from tests.scripted_upstream import ScriptedUpstream, answer, answering
from tests.sign_in_world import SESSION, World
from tests.tokens import make_token
from tests.unit.test_app_step_up import ACR, BASE, PING, STEP_UP, cookie, session_of, with_sessions

CORPUS = tomllib.loads(
    (Path(__file__).parent / "corpus/sign_in_targets.toml").read_text(encoding="utf-8")
)
NOW = 1_800_000_000


@pytest.fixture
def world() -> World:
    return World()


async def post_from_provider(world: World, form: dict[str, str]) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=world.application, client=("192.0.2.9", 40000))
    async with httpx2.AsyncClient(transport=transport, base_url="https://x") as provider:
        return await provider.post("/login/backchannel/campus", data=form)


async def signs_in(claims: dict[str, Any], **query: str) -> bool:
    world = World()
    world.providers["campus"].claims = claims
    browser = world.browser()
    await browser.get("/login", params={"at": "campus", **query})
    (state,) = world.providers["campus"].flows
    await world.answer(browser, state)
    return SESSION in browser.cookies


# classes of hole


async def test_hole_17_a_sign_in_leads_to_our_own_pages_or_nowhere_else() -> None:
    """Some of the corpus through the whole flow; tests/unit/sign_in/test_targets.py has all of it."""
    for target in CORPUS["refused"][::40]:
        world = World()
        browser = world.browser()
        answer = await world.answer(browser, await world.begin(browser, to=target))
        assert '<meta http-equiv="refresh" content="0;url=/me">' in answer.text
        assert 'href="/me"' in answer.text


async def test_hole_17_a_sign_out_leads_to_our_own_page(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    token = re.findall(r'name="token" value="(\w+)"', (await browser.get("/me")).text)[0]
    form = {"token": token, "to": "https://evil.example", "post_logout_redirect_uri": "//evil"}
    gone = await browser.post("/logout?to=https://evil.example", data=form)
    assert (gone.status_code, gone.headers["location"]) == (303, "/login/signed-out")


async def test_hole_18_an_answer_is_for_the_browser_that_asked_and_good_once(
    world: World,
) -> None:
    attacker, victim = world.browser(), world.browser()
    state = await world.begin(attacker)
    assert (await world.answer(victim, state)).status_code == 400
    assert (await world.answer(attacker, state)).status_code == 200
    assert (await world.answer(attacker, state)).status_code == 400
    assert SESSION not in victim.cookies


async def test_hole_19_each_sign_in_has_a_new_id_and_each_sign_out_ends_it(world: World) -> None:
    browser = world.browser()
    browser.cookies.set(SESSION, "f" * 43, domain="slurm.example.org")
    await world.sign_in(browser)
    first = browser.cookies[SESSION]
    await world.sign_in(browser)
    second = browser.cookies[SESSION]
    assert len({"f" * 43, first, second}) == 3
    token = re.findall(r'name="token" value="(\w+)"', (await browser.get("/me")).text)[0]
    await browser.post("/logout", data={"token": token})
    for one in (first, second, "f" * 43):
        browser.cookies.set(SESSION, one, domain="slurm.example.org")
        assert (await browser.get("/me")).headers["location"] == "/login"


async def test_hole_20_the_session_cookie_is_the_hosts_and_comes_once(world: World) -> None:
    browser = world.browser()
    answer = await world.sign_in(browser)
    (line,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith(SESSION)]
    assert line.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")
    assert SESSION.startswith("__Host-")
    good = browser.cookies[SESSION]
    browser.cookies.clear()
    for field in (
        f"{SESSION}={good}; {SESSION}={'a' * 43}",
        f"{SESSION}={good}; {SESSION}={good}",
        f'{SESSION}="{good}"',
        f"{SESSION}={good}; filler={'x' * 20_000}",
    ):
        assert (await browser.get("/me", headers={"Cookie": field})).status_code == 400


@pytest.mark.parametrize(
    ("at", "iss", "note"),
    [
        ("partner", "", "begun at another issuer"),
        ("campus", "https://partner.example.org", "iss is another issuer"),
        ("campus", "", "iss is missing"),
    ],
)
async def test_hole_33_an_answer_of_another_issuer_reaches_no_token_endpoint(
    world: World, at: str, iss: str, note: str
) -> None:
    browser = world.browser()
    world.providers["campus"].iss_supported = True
    state = await world.begin(browser)
    assert (await world.answer(browser, state, at, iss=iss)).status_code == 400
    assert note in world.last.note
    assert world.providers["campus"].redeemed == world.providers["partner"].redeemed == []


async def test_hole_33_a_code_of_another_sign_in_fits_no_verifier_and_no_nonce(
    world: World,
) -> None:
    attacker, victim = world.browser(), world.browser()
    provider = world.providers["campus"]
    flows = [provider.flows[await world.begin(one)] for one in (attacker, victim)]
    assert len({flow.verifier for flow in flows} | {flow.nonce for flow in flows}) == 4
    assert all(43 <= len(flow.verifier) <= 128 for flow in flows)
    provider.tokens = {"id_token": provider.id_token(flows[0].nonce)}
    assert (await world.answer(victim, flows[1].state)).status_code == 400
    assert "nonce" in world.last.note
    assert SESSION not in victim.cookies


async def test_hole_34_a_page_shows_nothing_of_what_was_sent_unescaped(world: World) -> None:
    attack = "<img src=x onerror=alert(1)>"
    browser = world.browser()
    state = await world.begin(browser)
    answer = await world.answer(browser, state, error=attack, error_description=attack)
    assert "<img" not in answer.text
    assert "onerror" not in answer.text
    world.providers["campus"].info |= {"name": attack, "preferred_username": attack}
    await world.sign_in(browser)
    page = await browser.get("/me")
    assert "&lt;img" in page.text
    assert "<img" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"


async def test_hole_34_the_page_that_tries_calls_runs_its_own_two_scripts_alone(
    world: World,
) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    for _ in range(2):
        page = await browser.get("/docs?url=https://evil.example.org/x.json&%3Cscript%3E")
        scripts = re.findall(r"<script([^>]*)>([^<]*)", page.text)
        nonces = {re.findall(r'nonce="([^"]+)" src="/gateway/', tag)[0] for tag, _ in scripts}
        assert [inside for _, inside in scripts] == ["", ""]
        (nonce,) = nonces
        policy = page.headers["content-security-policy"]
        assert f"script-src 'nonce-{nonce}';" in policy
        assert "unsafe" not in policy
        assert "evil" not in page.text


# BEAR 12, STEP 1: the whole gateway


async def test_bear_12_only_a_navigation_is_led_to_the_sign_in(tmp_path: Path) -> None:
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        changes = with_sessions(tmp_path, {"forward": {"upstream": upstream.url}})
        async with running(gateway_of(tmp_path, changes)) as application:
            client = client_of(application)
            for mode, is_led in (("navigate", True), ("cors", False), ("", False)):
                headers = {"Accept": "text/html,*/*", **({"Sec-Fetch-Mode": mode} if mode else {})}
                got = await client.get(BASE + PING, headers=headers)
                assert (got.status_code, got.json()["code"]) == (401, "token-missing")
                assert "location" not in got.headers
                assert ("refresh" in got.headers) is is_led


async def test_step_1_2_5_what_is_missing_of_a_sign_in_is_named_and_amr_is_not_acr(
    tmp_path: Path,
) -> None:
    """`amr` says how, in a provider's own words; only `acr` says that it was enough."""
    async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
        changes = with_sessions(tmp_path, {**STEP_UP, "forward": {"upstream": upstream.url}})
        async with running(gateway_of(tmp_path, changes)) as application:
            client = client_of(application)
            for claims in ({}, {"acr": "1"}, {"acr": [ACR]}, {"amr": ["mfa", ACR]}):
                session = await session_of(application, "alice", **claims)
                got = await client.get(BASE + PING, headers=cookie(session))
                assert got.status_code == 401
                challenge = got.headers["www-authenticate"]
                assert 'error="insufficient_user_authentication"' in challenge
                assert f'acr_values="{ACR} other"' in challenge
            submit = BASE + "job/submit"
            for age in (None, 901, -600):
                more = {} if age is None else {"auth_time": int(time.time() - age)}
                session = await session_of(application, "alice", acr=ACR, **more)
                got = await client.post(submit, headers=cookie(session), json={"job": {}})
                assert got.status_code == 401
                assert 'max_age="900"' in got.headers["www-authenticate"]


async def test_step_3_the_login_is_asked_for_it_and_held_to_it(world: World) -> None:
    browser = world.browser()
    await browser.get("/login", params={"at": "campus", "acr_values": "a b", "max_age": "60"})
    (flow,) = world.providers["campus"].flows.values()
    assert (flow.acr_values, flow.maximum_age_seconds) == (("a", "b"), 60.0)
    asked = {"acr_values": "a b", "max_age": "60"}
    assert await signs_in({"acr": "b", "auth_time": NOW - 60}, **asked)
    assert not await signs_in({"acr": "c", "auth_time": NOW}, **asked)
    assert not await signs_in({"acr": "b", "auth_time": NOW - 61}, **asked)
    assert not await signs_in({"acr": "b", "auth_time": None}, **asked)


async def test_step_4_a_sign_in_that_stays_weak_ends_on_a_page(world: World) -> None:
    browser = world.browser()
    begun = await browser.get("/login", params={"at": "campus", "acr_values": "gold"})
    assert begun.status_code == 303
    (state,) = world.providers["campus"].flows
    page = await world.answer(browser, state)
    assert (page.status_code, "location" in page.headers) == (400, False)
    assert "refresh" not in page.headers
    assert "http-equiv" not in page.text


# DISC: OpenID Connect


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": None},
        {"nonce": "another"},
        {"at_hash": "AAAA"},
        {"iss": "https://partner.example.org"},
        {"aud": "another"},
        {"aud": ["client-campus", "b"]},
        {"azp": "b"},
        {"exp": NOW - 31},
        {"iat": None},
    ],
)
async def test_disc_4_the_id_token_of_a_sign_in_answers_to_what_was_asked(
    claims: dict[str, Any],
) -> None:
    assert await signs_in({})
    assert not await signs_in(claims)


async def test_disc_5_userinfo_is_about_the_same_subject(world: World) -> None:
    for info in ({"sub": "bob-sub", "groups": ["admins"]}, {"groups": ["admins"]}):
        world.providers["campus"].info = info
        browser = world.browser()
        assert (await world.sign_in(browser)).status_code == 400
        assert SESSION not in browser.cookies


async def test_disc_11_a_logout_token_ends_sessions_once_and_nothing_else_does(
    world: World,
) -> None:
    await world.sign_in(world.browser())
    now = int(world.clock())
    good = {
        "iss": "https://campus.example.org",
        "aud": "client-campus",
        "iat": now,
        "exp": now + 120,
        "jti": "j1",
        "sub": "alice-sub",
        "events": {EVENT: {}},
    }
    header = {"alg": "RS256", "kid": "k1", "typ": "logout+jwt"}

    async def post(changes: dict[str, Any], **headers: str) -> httpx2.Response:
        claims = {name: one for name, one in {**good, **changes}.items() if one is not None}
        token = make_token({**header, **headers}, claims, "oidc")
        return await post_from_provider(world, {"logout_token": token})

    bad: list[dict[str, Any]] = [
        {"aud": "another"},
        {"iss": "https://partner.example.org"},
        {"nonce": "n"},
        {"events": {}},
        {"sub": None},
        {"jti": None},
        {"iat": now + 100},
        {"exp": now - 31},
    ]
    for changes in bad:
        assert (await post(changes)).status_code == 400
    assert (await post({}, typ="at+jwt")).status_code == 400
    assert len(world.store.sessions) == 1
    answer = await post({})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert world.store.sessions == {}
    await world.sign_in(world.browser())
    assert (await post({})).status_code == 400
    assert len(world.store.sessions) == 1


async def test_disc_12_signing_out_ends_the_session_here_and_offers_it_there(
    world: World,
) -> None:
    """No `state` goes along: the page that one comes back to says something, and does nothing."""
    world.leave = Leave("https://campus.example.org/out", "get", {"client_id": "client-campus"})
    browser = world.browser()
    await world.sign_in(browser)
    token = re.findall(r'name="token" value="(\w+)"', (await browser.get("/me")).text)[0]
    for headers, form in (
        ({"Sec-Fetch-Site": "cross-site"}, {"token": token}),
        ({}, {"token": "0" * 64}),
    ):
        assert (await browser.post("/logout", data=form, headers=headers)).status_code == 403
    page = await browser.post("/logout", data={"token": token})
    assert world.store.sessions == {}
    assert '<form method="get" action="https://campus.example.org/out">' in page.text
    assert (await browser.get("/login/signed-out")).status_code == 200


async def test_prob_4_the_pages_of_the_sign_in_are_html_and_escaped(
    world: World,
) -> None:
    page = await world.browser().get("/login/callback/campus?state=%3Cb%3E")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "<b>" not in page.text
