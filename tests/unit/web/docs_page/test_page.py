"""The page on which calls are tried: who gets it, what it may do in a browser, and where it is not."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.denial import Denied, Reason
from gateway.web.portal import build_portal
from lab.toml_text import merged
from tests.running import built, gateway_of
from tests.sign_in_world import SESSION, World
from tests.unit.test_app_step_up import with_sessions

DOCS = "/docs"
PROGRAM = {"Accept": "application/json", "Sec-Fetch-Mode": "", "Sec-Fetch-Site": ""}


@pytest.fixture
def world() -> World:
    return World(names=("campus",))


def scripts_of(page: str) -> list[tuple[str, str]]:
    """(attributes, what stands inside)."""
    return re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)


def directives(answer: httpx2.Response) -> dict[str, str]:
    parts = (
        one.strip().partition(" ") for one in answer.headers["content-security-policy"].split(";")
    )
    return {name: value for name, _, value in parts}


async def test_who_has_signed_in_sees_whose_calls_these_are(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    answer = await browser.get(DOCS)
    assert answer.status_code == 200
    assert "<strong>alice</strong>" in answer.text
    assert 'data-session="yes"' in answer.text
    assert 'id="token"' not in answer.text
    assert world.last.identity is not None
    assert world.last.identity.subject == "alice-sub"


async def test_a_browser_without_a_session_is_led_to_the_sign_in_and_back(world: World) -> None:
    browser = world.browser()
    answer = await browser.get(DOCS)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?to=/docs")
    assert "Try calls" not in answer.text
    state = await world.begin(browser, to=DOCS)
    assert (
        '<meta http-equiv="refresh" content="0;url=/docs">'
        in (await world.answer(browser, state)).text
    )


@pytest.mark.parametrize("headers", [PROGRAM, {**PROGRAM, "Sec-Fetch-Mode": "cors"}])
async def test_a_program_gets_the_problem_and_no_redirect(
    world: World, headers: dict[str, str]
) -> None:
    answer = await world.browser().get(DOCS, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "session-ended"
    assert "location" not in answer.headers


async def test_the_page_runs_two_scripts_of_ours_and_no_other(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    seen = set()
    for _ in range(2):
        answer = await browser.get(DOCS)
        policy = directives(answer)
        nonce = policy["script-src"].removeprefix("'nonce-").removesuffix("'")
        seen.add(nonce)
        assert len(nonce) >= 22
        scripts = scripts_of(answer.text)
        assert len(scripts) == 2
        for attributes, inside in scripts:
            assert f'nonce="{nonce}"' in attributes
            assert 'src="/gateway/static/' in attributes
            assert inside == ""
        assert not re.search(r"\son[a-z]+=|\sstyle=|javascript:", answer.text)
    assert len(seen) == 2, "a nonce is used once"


async def test_the_page_is_held_by_its_policy(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    answer = await browser.get(DOCS)
    policy = directives(answer)
    del policy["script-src"]
    assert policy == {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "form-action": "'none'",
    }
    for name, value in {
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin",
        "strict-transport-security": "max-age=31536000",
    }.items():
        assert answer.headers[name] == value


async def test_every_other_page_still_runs_no_script(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    me = await browser.get("/me")
    assert "script-src" not in me.headers["content-security-policy"]
    assert "<script" not in me.text
    assert 'href="/docs"' in me.text


async def test_what_stands_in_the_page_is_escaped(world: World) -> None:
    world.providers["campus"].info["preferred_username"] = "<img src=x onerror=alert(1)>"
    browser = world.browser()
    await world.sign_in(browser)
    answer = await browser.get(f"{DOCS}?url=//evil.example.org/x&configUrl=<script>&%22onload=%22")
    assert "&lt;img src=x onerror=alert(1)&gt;" in answer.text
    assert "<img" not in answer.text
    assert "evil.example.org" not in answer.text


async def test_somebody_without_a_slurm_user_is_told_so(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    world.unmapped = Denied(Reason.USER_UNMAPPED, "no rule")
    answer = await browser.get(DOCS)
    assert answer.status_code == 200
    assert "user-unmapped" in answer.text
    assert "no rule" not in answer.text


async def test_a_store_that_fails_is_a_page_for_a_browser_and_a_problem_for_a_program(
    world: World,
) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    world.store.is_broken = True
    world.clock.advance(2)
    answer = await browser.get(DOCS)
    assert answer.status_code == 503
    assert answer.headers["content-type"].startswith("text/html")
    cookies = {"Cookie": f"{SESSION}={browser.cookies[SESSION]}", "Sec-Fetch-Site": "same-origin"}
    problem = await world.browser().get(DOCS, headers={**PROGRAM, **cookies})
    assert problem.json()["code"] == "sessions-unavailable"


# Where there is one


async def page_of(folder: Path, changes: dict[str, Any]) -> httpx2.Response:
    generation = await built(gateway_of(folder, changes))
    transport = httpx2.ASGITransport(app=generation.portal, client=("192.0.2.7", 40000))
    async with httpx2.AsyncClient(transport=transport, base_url="https://slurm") as client:
        return await client.get(DOCS, headers=PROGRAM)


OPEN = {"authorize": {"openapi_without_token": True}}
OFF = {"server": {"docs_page": False}}


async def test_without_a_sign_in_there_is_no_page(tmp_path: Path) -> None:
    answer = await page_of(tmp_path, {})
    assert (answer.status_code, answer.json()["code"]) == (404, "page-unknown")


async def test_with_a_sign_in_there_is_one_for_sessions(tmp_path: Path) -> None:
    for changes in ({}, OPEN):
        answer = await page_of(tmp_path, with_sessions(tmp_path, changes))
        assert (answer.status_code, answer.json()["code"]) == (401, "session-ended")


async def test_where_documents_are_open_a_token_is_typed_in(tmp_path: Path) -> None:
    answer = await page_of(tmp_path, OPEN)
    assert answer.status_code == 200
    assert 'data-session="no"' in answer.text
    assert re.search(r'<input id="token" type="password" autocomplete="off"', answer.text)
    assert not re.search(r"<input[^>]*\sname=", answer.text), "nothing that a form could send"


@pytest.mark.parametrize("signs_in", [True, False])
async def test_it_can_be_switched_off(tmp_path: Path, signs_in: bool) -> None:
    changes = merged(OPEN, OFF)
    answer = await page_of(tmp_path, with_sessions(tmp_path, changes) if signs_in else changes)
    assert (answer.status_code, answer.json()["code"]) == (404, "page-unknown")


@pytest.mark.parametrize("has_docs", [True, False])
async def test_the_front_page_names_it_where_it_is(has_docs: bool) -> None:
    portal = build_portal("https://slurm.example.org", "lab", [], has_docs=has_docs)
    transport = httpx2.ASGITransport(app=portal)
    async with httpx2.AsyncClient(transport=transport, base_url="https://slurm") as client:
        assert (DOCS in (await client.get("/")).text) is has_docs
