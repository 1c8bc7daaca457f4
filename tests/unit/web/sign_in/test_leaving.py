"""Signing out: who may end a session, and whose cookie is taken away."""

import re

import httpx2
import pytest

from gateway.denial import Reason
from tests.sign_in_world import SESSION, World


@pytest.fixture
def world() -> World:
    return World()


async def token_of(browser: httpx2.AsyncClient) -> str:
    page = (await browser.get("/me")).text
    return str(re.findall(r'name="token" value="(\w+)"', page)[0])


async def test_who_signs_out_has_neither_session_nor_cookie(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    answer = await browser.post("/logout", data={"token": await token_of(browser)})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login/signed-out")
    assert SESSION not in browser.cookies
    assert world.store.sessions == {}


async def test_another_sites_form_comes_without_the_cookie_and_takes_none_away(
    world: World,
) -> None:
    """SameSite=Lax keeps the cookie back from a POST of another site, but the browser would obey the answer."""
    browser = world.browser()
    await world.sign_in(browser)
    kept = browser.cookies[SESSION]
    browser.cookies.clear()
    for path in ("/logout", "/me/sessions/end"):
        answer = await browser.post(path, data={}, headers={"Sec-Fetch-Site": "cross-site"})
        assert not answer.headers.get_list("set-cookie"), path
    browser.cookies.set(SESSION, kept, domain="slurm.example.org")
    assert (await browser.get("/me")).status_code == 200


async def test_the_cookie_of_a_session_that_has_ended_is_taken_away(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    world.store.sessions.clear()
    world.clock.advance(1)
    answer = await browser.post("/logout", data={})
    assert answer.headers["location"] == "/login/signed-out"
    assert SESSION not in browser.cookies


async def test_signing_in_with_a_doubled_session_cookie_leaves_no_session_behind(
    world: World,
) -> None:
    """Nobody could find it to end it."""
    browser = world.browser()
    state = await world.begin(browser)
    (flow,) = [f"{one.name}={one.value}" for one in browser.cookies.jar]
    browser.cookies.clear()
    doubled = f"{flow}; {SESSION}={'a' * 43}; {SESSION}={'b' * 43}"
    answer = await browser.get(
        f"/login/callback/campus?state={state}&code=good", headers={"Cookie": doubled}
    )
    assert answer.status_code == Reason.HEADER_MALFORMED.status
    assert world.store.sessions == {}
    assert world.providers["campus"].redeemed == []


async def test_a_broken_session_cookie_is_taken_away_so_that_one_can_sign_in_again(
    world: World,
) -> None:
    browser = world.browser()
    broken = {"Cookie": f"{SESSION}=tampered"}
    answer = await browser.get("/me", headers=broken)
    assert answer.status_code == Reason.HEADER_MALFORMED.status
    (line,) = answer.headers.get_list("set-cookie")
    assert line.startswith(f"{SESSION}=; ")
    assert line.endswith("Max-Age=0")
    assert "begin again" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "code", "advice"),
    [
        ("GET", "/login?to=/a&to=/b", "target-malformed", "Begin again."),
        ("GET", "/login/callback/nobody", "page-unknown", "Check the address."),
        ("POST", "/me/sessions/end", "session-ended", "Sign in again to go on."),
        ("GET", "/login/callback/campus", "sign-in-refused", "Begin again"),
    ],
)
async def test_every_page_that_refuses_says_what_to_do(
    world: World, method: str, path: str, code: str, advice: str
) -> None:
    page = await world.browser().request(method, path)
    assert advice in page.text
    assert f'<a href="/gateway/errors/{code}">{code}</a>' in page.text
