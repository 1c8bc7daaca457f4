"""The pages of the sign-in, with a scripted provider: what signs somebody in, and what never does."""

import base64
import re
from typing import Any

import httpx2
import pytest

from gateway.denial import Denied, Reason
from gateway.sign_in.flow import FLOW_SECONDS
from gateway.sign_in.provider import ProviderDoubt, ProviderRefused
from tests.sign_in_world import ABSOLUTE, IDLE, ORIGIN, SESSION, World


@pytest.fixture
def world() -> World:
    return World()


def is_signed_in(browser: httpx2.AsyncClient) -> bool:
    return SESSION in browser.cookies


async def refused(
    world: World, browser: httpx2.AsyncClient, answer: httpx2.Response, code: str, note: str
) -> None:
    """A page that says what happened, nobody signed in, and the cause in the audit alone."""
    assert f">{code}</a>" in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert not is_signed_in(browser)
    assert world.store.sessions == {}
    assert world.last.code == code
    assert note in world.last.note
    assert not world.last.granted
    assert note not in answer.text


async def test_several_issuers_are_a_choice_with_escaped_titles(world: World) -> None:
    answer = await world.browser().get("/login?to=/me%3Fx%3D1")
    assert answer.status_code == 200
    assert "campus &lt;University&gt;" in answer.text
    assert 'href="/login?at=partner&amp;to=%2Fme%3Fx%3D1"' in answer.text


async def test_one_issuer_is_no_choice() -> None:
    answer = await World(names=("campus",)).browser().get("/login")
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("https://campus.example.org/auth?")


async def test_a_program_is_never_redirected() -> None:
    browser = World(names=("campus",)).browser()
    for headers in (
        {"Accept": "application/json", "Sec-Fetch-Mode": ""},
        {"Sec-Fetch-Mode": "cors"},
        {"Accept": "*/*", "Sec-Fetch-Mode": ""},
    ):
        answer = await browser.get("/login", headers=headers)
        assert answer.status_code == 200
        assert "location" not in answer.headers


async def test_signing_in_gives_a_session_and_goes_on_to_where_one_was(world: World) -> None:
    browser = world.browser()
    state = await world.begin(browser, to="/slurm/v0.0.42/jobs?flags=A")
    answer = await world.answer(browser, state)
    assert answer.status_code == 200
    assert '<meta http-equiv="refresh" content="0;url=/slurm/v0.0.42/jobs?flags=A">' in answer.text
    assert is_signed_in(browser)
    assert world.last.identity is not None
    assert world.last.identity.subject == "alice-sub"
    me = await browser.get("/me")
    assert "<strong>alice</strong>" in me.text


async def test_the_cookie_is_the_hosts_alone_and_nothing_of_it_is_kept(world: World) -> None:
    browser = world.browser()
    answer = await world.sign_in(browser)
    lines = answer.headers.get_list("set-cookie")
    session = next(line for line in lines if line.startswith(f"{SESSION}="))
    value, _, attributes = session.removeprefix(f"{SESSION}=").partition("; ")
    assert attributes == "Path=/; Secure; HttpOnly; SameSite=Lax"
    assert len(value) == 43
    kept = repr(world.store.sessions)
    assert value not in kept
    assert value not in repr([vars(record) for record in world.trail.records])
    assert "rt-0" not in kept, "tokens are sealed"
    assert any("Max-Age=0" in line for line in lines if "flow" in line)


@pytest.mark.parametrize(
    ("query", "note"),
    [
        ({"code": "wrong"}, "invalid_grant"),
        ({"code": ""}, "neither code nor error"),
        ({"code": "", "error": "access_denied"}, "access_denied"),
        ({"error": "<script>alert(1)</script>"}, "<script>"),
        ({"iss": "https://partner.example.org"}, "iss is another issuer"),
        ({"state": "unknown"}, "no cookie"),
        ({"state": ""}, "no cookie"),
        ({"code": "x" * 5000}, "too long"),
        ({"error": "a\r\nb"}, "not printable"),
    ],
)
async def test_a_bad_answer_signs_nobody_in(world: World, query: dict[str, str], note: str) -> None:
    browser = world.browser()
    state = await world.begin(browser)
    answer = await world.answer(browser, **{"state": state, **query})
    assert answer.status_code == 400
    await refused(world, browser, answer, "sign-in-refused", note)
    assert "<script>" not in answer.text


async def test_an_answer_is_good_once(world: World) -> None:
    browser = world.browser()
    state = await world.begin(browser)
    kept = dict(browser.cookies)
    await world.answer(browser, state)
    thief = world.browser()
    for name, value in kept.items():
        thief.cookies.set(name, value, domain="slurm.example.org")
    again = await world.answer(thief, state)
    assert again.status_code == 400
    assert world.last.note == "the state was used before"
    assert not is_signed_in(thief)


async def test_an_answer_that_failed_cannot_be_tried_again(world: World) -> None:
    browser = world.browser()
    state = await world.begin(browser)
    kept = dict(browser.cookies)
    await world.answer(browser, state, code="wrong")
    for name, value in kept.items():
        browser.cookies.set(name, value, domain="slurm.example.org")
    answer = await world.answer(browser, state)
    await refused(world, browser, answer, "sign-in-refused", "used before")


async def test_a_state_is_of_no_use_in_another_browser(world: World) -> None:
    victim, other = world.browser(), world.browser()
    state = await world.begin(other)
    answer = await world.answer(victim, state)
    await refused(world, victim, answer, "sign-in-refused", "no cookie for this state")


async def test_an_answer_at_another_issuers_callback_is_refused(world: World) -> None:
    """RFC 9207 section 1: the mix-up attack."""
    browser = world.browser()
    state = await world.begin(browser, "campus")
    answer = await world.answer(browser, state, "partner")
    await refused(world, browser, answer, "sign-in-refused", "begun at another issuer")
    assert world.providers["partner"].redeemed == []


async def test_a_provider_that_names_itself_must_do_so(world: World) -> None:
    browser = world.browser()
    world.providers["campus"].iss_supported = True
    answer = await world.answer(browser, await world.begin(browser))
    await refused(world, browser, answer, "sign-in-refused", "iss is missing")
    answer = await world.answer(
        browser, await world.begin(browser), iss="https://campus.example.org"
    )
    assert is_signed_in(browser)


async def test_a_sign_in_ends_after_ten_minutes(world: World) -> None:
    browser = world.browser()
    state = await world.begin(browser)
    world.clock.advance(FLOW_SECONDS)
    answer = await world.answer(browser, state)
    await refused(world, browser, answer, "sign-in-refused", "too long ago")


@pytest.mark.parametrize("name", ["campus", "partner"])
async def test_a_tampered_or_doubled_flow_cookie_is_none(world: World, name: str) -> None:
    browser = world.browser()
    state = await world.begin(browser, name)
    (cookie,) = browser.cookies.jar
    value = str(cookie.value)
    raw = bytearray(base64.urlsafe_b64decode(value + "=="))
    raw[20] ^= 1
    tampered = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    for field in (
        f"{cookie.name}={tampered}",
        f"{cookie.name}={value}; {cookie.name}={value}",
        f"{cookie.name}=%%%",
        f"{cookie.name}={'A' * 5000}",
    ):
        browser.cookies.clear()
        answer = await browser.get(
            f"/login/callback/{name}?state={state}&code=good", headers={"Cookie": field}
        )
        assert answer.status_code == 400
        assert not is_signed_in(browser)
    assert world.store.sessions == {}


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("nonce is missing", {"nonce": None}),
    ("nonce is not", {"nonce": "another"}),
    ("aud is not this client", {"aud": "another"}),
    ("azp is not this client", {"aud": ["client-campus", "b"]}),
    ("azp is not this client", {"azp": "b"}),
    ("iss is not the issuer", {"iss": "https://partner.example.org"}),
    ("expired", {"exp": 1_800_000_000 - 31}),
    ("iat lies in the future", {"iat": 1_800_000_000 + 31}),
    ("exp is missing", {"exp": None}),
    ("exp is not a time", {"exp": "1900000000"}),
    ("sub is missing", {"sub": None}),
    ("at_hash", {"at_hash": "AAAA"}),
    ("not an ID token", {"token_use": "access"}),
    ("not an ID token", {"events": {}}),
    ("the subject is a client", {"sub": "client-campus"}),
    ("userinfo is about another subject", {"sub": "bob-sub"}),
]


@pytest.mark.parametrize(("note", "claims"), WRONG)
async def test_an_id_token_that_is_not_ours_signs_nobody_in(
    world: World, note: str, claims: dict[str, Any]
) -> None:
    provider, browser = world.providers["campus"], world.browser()
    provider.claims = claims
    if claims.get("sub") == "client-campus":
        provider.info = {}
    answer = await world.sign_in(browser)
    await refused(world, browser, answer, "sign-in-refused", note)


@pytest.mark.parametrize("skew", [-29, 29])
async def test_clocks_may_differ_by_the_leeway(world: World, skew: int) -> None:
    now = int(world.clock())
    world.providers["campus"].claims = {"iat": now + skew, "exp": now + skew + 1}
    browser = world.browser()
    await world.sign_in(browser)
    assert is_signed_in(browser)


@pytest.mark.parametrize(
    "change",
    [
        {"key": "rsa:another"},
        {"header": {"alg": "none"}},
        {"header": {"alg": "RS256", "typ": "at+jwt"}},
    ],
)
async def test_an_id_token_by_somebody_else_or_of_another_kind_is_refused(
    world: World, change: dict[str, Any]
) -> None:
    browser = world.browser()
    for name, value in change.items():
        setattr(world.providers["campus"], name, value)
    answer = await world.sign_in(browser)
    await refused(world, browser, answer, "sign-in-refused", "ID token: ")


async def test_a_missing_id_token_is_refused(world: World) -> None:
    world.providers["campus"].tokens = {"id_token": ""}
    browser = world.browser()
    await refused(world, browser, await world.sign_in(browser), "sign-in-refused", "ID token")


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (ProviderDoubt("https://10.0.0.1 is down"), Reason.PROVIDER_UNAVAILABLE, 503),
        (ProviderRefused("invalid_client"), Reason.SIGN_IN_REFUSED, 400),
        (Denied(Reason.KEYS_UNAVAILABLE, "no keys"), Reason.KEYS_UNAVAILABLE, 503),
    ],
)
async def test_a_provider_that_fails_is_a_page_that_names_nothing_inside(
    world: World, error: Exception, code: Reason, status: int
) -> None:
    browser = world.browser()
    state = await world.begin(browser)
    world.providers["campus"].error = error
    answer = await world.answer(browser, state)
    assert answer.status_code == status
    assert "10.0.0.1" not in answer.text
    assert world.last.code == code.code
    assert not is_signed_in(browser)


async def test_a_provider_that_is_down_at_the_beginning_is_a_page_too(world: World) -> None:
    world.providers["campus"].error = ProviderDoubt("down")
    answer = await world.browser().get("/login?at=campus")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


async def test_a_store_that_fails_signs_nobody_in(world: World) -> None:
    browser = world.browser()
    state = await world.begin(browser)
    world.store.is_broken = True
    answer = await world.answer(browser, state)
    assert answer.status_code == 503
    assert world.last.code == Reason.SESSIONS_UNAVAILABLE.code
    assert not is_signed_in(browser)


async def test_somebody_on_the_deny_list_gets_no_session(world: World) -> None:
    world.deny_list.subjects = {"alice-sub"}
    browser = world.browser()
    await refused(world, browser, await world.sign_in(browser), "sign-in-refused", "deny list")


async def test_signing_in_again_ends_the_session_before(world: World) -> None:
    """A new id at every sign-in, and none is left behind (session fixation)."""
    browser = world.browser()
    await world.sign_in(browser)
    first = browser.cookies[SESSION]
    await world.sign_in(browser)
    assert browser.cookies[SESSION] != first
    assert len(world.store.sessions) == 1


async def test_many_tabs_can_sign_in_at_once_and_abandoned_ones_do_not_pile_up(
    world: World,
) -> None:
    browser = world.browser()
    states = [await world.begin(browser) for _ in range(8)]
    assert (await world.answer(browser, states[0])).status_code == 200
    for _ in range(20):
        await world.begin(browser)
    assert len([one for one in browser.cookies.jar if "flow" in one.name]) <= 9


async def test_every_page_forbids_scripts_frames_sniffing_and_referrers(world: World) -> None:
    browser = world.browser()
    signed_in = await world.sign_in(browser)
    pages = [
        await browser.get("/login"),
        signed_in,
        await browser.get("/me"),
        await browser.get("/login/signed-out"),
        await browser.get("/login/callback/campus"),
    ]
    for page in pages:
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["strict-transport-security"].startswith("max-age=")
        assert not re.search(r"<script|style=|\son\w+=|https?://(?!campus|partner)", page.text)


async def test_me_without_a_session_leads_to_the_sign_in_and_a_program_nowhere(
    world: World,
) -> None:
    answer = await world.browser().get("/me")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    answer = await world.browser().get("/me", headers={"Sec-Fetch-Mode": "cors"})
    assert answer.status_code == 401
    assert "location" not in answer.headers


@pytest.mark.parametrize("seconds", [IDLE, ABSOLUTE])
async def test_a_session_ends_by_itself(world: World, seconds: float) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    elapsed = 0.0
    while seconds == ABSOLUTE and elapsed < seconds - 500:
        world.clock.advance(500)
        elapsed += 500
        assert (await browser.get("/me")).status_code == 200
    world.clock.advance(seconds - elapsed)
    assert (await browser.get("/me")).headers["location"] == "/login"


async def test_who_maps_to_nobody_is_told_so(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    world.unmapped = Denied(Reason.USER_UNMAPPED, "secret rule")
    page = await browser.get("/me")
    assert page.status_code == 200
    assert "user-unmapped" in page.text
    assert "secret rule" not in page.text


async def test_what_a_provider_calls_somebody_is_escaped(world: World) -> None:
    world.providers["campus"].info |= {"name": "<img src=x onerror=alert(1)>"}
    browser = world.browser()
    await world.sign_in(browser)
    assert "<img" not in (await browser.get("/me")).text


async def test_only_browsers_of_this_site_may_post(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    token = re.findall(r'name="token" value="(\w+)"', (await browser.get("/me")).text)[0]
    form = {"token": token, "which": "all"}
    attacks = [
        ({"Sec-Fetch-Site": "cross-site"}, form),
        ({"Sec-Fetch-Site": "same-site"}, form),
        ({"Sec-Fetch-Site": "none"}, form),
        ({"Sec-Fetch-Site": "", "Origin": "https://evil.example"}, form),
        ({"Sec-Fetch-Site": ""}, form),
        ({"Origin": "https://evil.example"}, form),
        ({}, {**form, "token": "0" * 64}),
        ({}, {"which": "all"}),
    ]
    for path in ("/logout", "/me/sessions/end"):
        for headers, fields in attacks:
            answer = await browser.post(path, data=fields, headers=headers)
            assert not answer.headers.get_list("set-cookie")
            assert answer.status_code == 403, (path, headers)
            assert world.last.code == Reason.CROSS_SITE_REQUEST.code
    assert len(world.store.sessions) == 1
    answer = await browser.post("/me/sessions/end", data=form, headers={"Origin": ORIGIN})
    assert answer.status_code == 303
    assert world.store.sessions == {}


async def test_whoever_brings_bad_answers_without_end_is_not_heard_for_a_while(
    world: World,
) -> None:
    """Each costs a question to the provider and a row in the store, and anybody can begin a sign-in."""
    browser = world.browser()
    await world.answer(browser, await world.begin(browser), code="wrong")
    assert world.failures.counted == ["192.0.2.7"]
    await world.answer(browser, "of no cookie")
    await world.sign_in(browser)
    assert len(world.failures.counted) == 1, "what costs nothing and what is right are not counted"
    used = len(world.store.used)
    world.failures.refusal = Denied(
        Reason.AUTHENTICATION_THROTTLED, headers=(("Retry-After", "7"),)
    )
    answer = await world.answer(browser, await world.begin(browser), code="wrong")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert len(world.store.used) == used


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/me"), ("POST", "/me/sessions/end"), ("POST", "/logout")]
)
async def test_a_session_beside_a_token_is_none(world: World, method: str, path: str) -> None:
    """As on the paths of Slurm: whose request it is has one answer."""
    browser = world.browser()
    await world.sign_in(browser)
    both = {"Authorization": "Bearer a.b.c"}
    answer = await browser.request(method, path, headers=both, data={"which": "all"})
    assert answer.status_code == Reason.CREDENTIALS_AMBIGUOUS.status
    assert "not both" in answer.text
    assert (world.last.code, world.last.identity) == ("credentials-ambiguous", None)
    assert len(world.store.sessions) == 1
    assert (await browser.get("/me")).status_code == 200
    assert (await world.browser().get("/me", headers=both)).headers["location"] == "/login"


async def test_a_made_up_session_counts_against_its_address_and_an_ended_one_does_not(
    world: World,
) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    world.store.sessions.clear()
    world.guard.forget(list(world.guard._known))
    assert (await browser.get("/me")).headers["location"] == "/login"
    assert world.failures.counted == []
    made_up = {"Cookie": f"{SESSION}={'x' * 43}"}
    assert (await world.browser().get("/me", headers=made_up)).headers["location"] == "/login"
    assert world.failures.counted == ["192.0.2.7"]
    world.failures.refusal = Denied(
        Reason.AUTHENTICATION_THROTTLED, headers=(("Retry-After", "7"),)
    )
    answer = await world.browser().get("/me", headers=made_up)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert "Wait a few minutes" in answer.text


async def test_the_front_page_says_where_one_signs_in(world: World) -> None:
    assert "Sign in with a browser: /me\n" in (await world.browser().get("/")).text
