"""People's way through the pages, in a real Chromium, at the real provider, with real Slurm behind."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from lab.identity_provider.provider import ACR
from lab.slurm import SlurmRelease
from tests.integration.in_chromium import at_the_provider, fetched, launched, sign_in
from tests.integration.test_sign_in import SESSION, Site, make_site


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, one_slurm_release: SlurmRelease
) -> Iterator[Site]:
    step_up = {"operations": ["GET /slurm/*/diag"], "acr_values": [ACR]}
    folder = tmp_path_factory.mktemp("chromium")
    yield from make_site(folder, one_slurm_release, {"authorize": {"step_up": [step_up]}})


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def context(chromium: Browser, site: Site) -> Iterator[BrowserContext]:
    made = chromium.new_context(ignore_https_errors=True, base_url=site.gateway.url)
    made.set_default_timeout(10_000)
    yield made
    made.close()


def test_somebody_signs_in_calls_slurm_and_signs_out(site: Site, context: BrowserContext) -> None:
    page, errors = context.new_page(), list[str]()
    page.on(
        "console", lambda message: errors.append(message.text) if "Policy" in message.text else None
    )
    sign_in(page, "alice")
    assert page.url == f"{site.gateway.url}/me"
    expect(page.locator("dd", has_text=re.compile(r"^alice$")).first).to_be_visible()
    cookie = next(one for one in context.cookies() if one.get("name") == SESSION)
    assert (cookie.get("httpOnly"), cookie.get("secure"), cookie.get("sameSite")) == (
        True,
        True,
        "Lax",
    )
    status, text = fetched(context, site.jobs)
    assert status == 200, text
    assert errors == [], "the policy of the pages forbids nothing that they use"
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_text("You are signed out here.")).to_be_visible()
    assert SESSION not in [one.get("name") for one in context.cookies()]
    page.get_by_role("button", name="Sign out at Lab University too").click()
    page.get_by_role("button", name=re.compile("yes", re.IGNORECASE)).click()
    expect(page.get_by_text("You are signed out here.")).to_be_visible()
    assert page.url.startswith(f"{site.gateway.url}/login/signed-out")


def test_a_stronger_sign_in_leads_back_to_where_one_was(
    site: Site, context: BrowserContext
) -> None:
    page = context.new_page()
    sign_in(page, "bob")
    diag = f"/slurm/{site.release.api_versions[0]}/diag"
    page.goto(diag)
    page.wait_for_url(f"{site.provider.issuer}/**")
    at_the_provider(page, "bob", strongly=True)
    page.wait_for_url(f"{site.gateway.url}{diag}")
    assert "statistics" in page.content()


def test_a_sign_in_that_stays_weak_ends_on_a_page_and_does_not_begin_again(
    site: Site, context: BrowserContext
) -> None:
    page = context.new_page()
    sign_in(page, "bob")
    page.goto(f"/slurm/{site.release.api_versions[0]}/diag")
    page.wait_for_url(f"{site.provider.issuer}/**")
    at_the_provider(page, "bob")
    expect(page.get_by_text("sign-in-refused")).to_be_visible()


def test_another_site_gets_nothing_with_somebodys_session(
    site: Site, context: BrowserContext
) -> None:
    """A page of another origin, in the same browser: scripts, forms and links of its own."""
    page = context.new_page()
    sign_in(page, "alice")
    before = len(site.gateway.audit_records())
    evil = context.new_page()
    evil.goto(f"{site.provider.issuer}/.well-known/openid-configuration")
    target = f"{site.gateway.url}{site.jobs}"
    for mode in ("cors", "no-cors"):
        outcome = evil.evaluate(
            """async ([url, mode]) => { try { const a = await fetch(url, {mode, credentials: "include"});
            return [a.status, await a.text()] } catch (e) { return [0, ""] } }""",
            [target, mode],
        )
        assert outcome == [0, ""]
    evil.evaluate(
        """(url) => { const f = document.createElement("form"); f.method = "post"; f.action = url;
        document.documentElement.append(f); f.submit(); }""",
        f"{site.gateway.url}/me/sessions/end",
    )
    evil.wait_for_url(f"{site.gateway.url}/**")
    records = site.gateway.audit_records()[before:]
    records = [one for one in records if not one["target"].startswith("/gateway/static/")]
    assert records
    assert not [one for one in records if one["user"] or one["status"] == 200]
    page.reload()
    expect(page.get_by_role("heading", name="My access")).to_be_visible()


def test_two_tabs_sign_in_at_once_and_share_what_is_last(
    site: Site, context: BrowserContext
) -> None:
    first, second = context.new_page(), context.new_page()
    first.goto("/login")
    second.goto("/login")
    at_the_provider(first, "alice")
    expect(first.get_by_role("heading", name="My access")).to_be_visible()
    at_the_provider(second, "alice")
    expect(second.get_by_role("heading", name="My access")).to_be_visible()
    assert fetched(context, site.jobs)[0] == 200


def test_sessions_elsewhere_are_ended_with_a_button(
    site: Site, chromium: Browser, context: BrowserContext
) -> None:
    other = chromium.new_context(ignore_https_errors=True, base_url=site.gateway.url)
    away, page = other.new_page(), context.new_page()
    sign_in(away, "carol")
    sign_in(page, "carol")
    page.get_by_role("button", name="Sign out everywhere").click()
    expect(page.get_by_text("You are signed out here.")).to_be_visible()
    assert fetched(other, site.jobs)[0] == 401
    other.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_a_phone_and_a_keyboard(site: Site, chromium: Browser, scheme: str) -> None:
    made = chromium.new_context(
        ignore_https_errors=True,
        base_url=site.gateway.url,
        viewport={"width": 320, "height": 640},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=False,
    )
    page = made.new_page()
    sign_in(page, "alice")
    made.close()
    made = chromium.new_context(
        ignore_https_errors=True,
        base_url=site.gateway.url,
        viewport={"width": 320, "height": 640},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = made.new_page()
    sign_in(page, "alice")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 320, "nothing is wider than the screen"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(22, 24, 27)" if scheme == "dark" else "rgb(255, 255, 255)")
    made.close()
