"""Tabs that stand open in a real Chromium, and what becomes of them when things happen elsewhere."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect

from lab.identity_provider.provider import WEB_CLIENT
from lab.processes import wait_until
from lab.slurm import SlurmRelease
from tests.integration.in_chromium import (
    PATIENCE_MILLISECONDS,
    at_the_provider,
    fetched,
    launched,
    sign_in,
)
from tests.integration.test_sign_in import SESSION, Site, make_site

CHECK_SECONDS, GRACE_SECONDS = 2.0, 4.0


@pytest.fixture
def site(tmp_path: Path, one_slurm_release: SlurmRelease) -> Iterator[Site]:
    """Whose sessions are checked at the provider all the time."""
    often = {"check_seconds": CHECK_SECONDS, "provider_grace_seconds": GRACE_SECONDS}
    yield from make_site(tmp_path, one_slurm_release, {"sign_in": often})


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture
def context(chromium: Browser, site: Site) -> Iterator[BrowserContext]:
    made = chromium.new_context(ignore_https_errors=True, base_url=site.gateway.url)
    made.set_default_timeout(PATIENCE_MILLISECONDS)
    yield made
    made.close()


def is_signed_in(page: Page) -> None:
    expect(page.get_by_role("heading", name="My access")).to_be_visible()


def refreshes(site: Site) -> list[str]:
    """What the provider said to each refresh token that came."""
    lines = site.provider.log.read_text().splitlines()
    return [line for line in lines if f"refresh_token for {WEB_CLIENT}" in line]


@contextmanager
def slow(site: Site) -> Iterator[None]:
    """The provider takes connections and a second to answer, so that what is asked meanwhile overlaps."""
    pid = site.provider._process.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        time.sleep(1.0)
    finally:
        os.kill(pid, signal.SIGCONT)


def session_id(context: BrowserContext) -> str:
    return next(str(one["value"]) for one in context.cookies() if one["name"] == SESSION)


def test_tabs_that_reload_at_once_refresh_once_and_stay_signed_in(
    site: Site, context: BrowserContext
) -> None:
    """A refresh token that came twice would have the provider revoke all that came of it."""
    tabs = [context.new_page(), context.new_page()]
    sign_in(tabs[0], "alice")
    tabs[1].goto("/me?tab=2")  # Chromium asks for one URL only once at a time
    granted = f"granted refresh_token for {WEB_CLIENT}"
    for _ in range(3):
        tabs[0].wait_for_timeout(1000 * (CHECK_SECONDS + 0.2))
        before = len(refreshes(site))
        with slow(site):
            for tab in tabs:
                tab.evaluate("document.body.dataset.old = 'yes'")
                with tab.expect_request(lambda one: one.is_navigation_request()):
                    tab.evaluate("() => { setTimeout(() => location.reload(), 0); }")
        for tab in tabs:
            expect(tab.locator("body:not([data-old])")).to_be_visible()
            is_signed_in(tab)
        said = refreshes(site)
        assert said[before:] == [granted]
        assert set(said) == {granted}
    assert fetched(context, site.jobs)[0] == 200


def test_a_tab_of_somebody_who_left_at_the_provider_leads_to_the_sign_in(
    site: Site, context: BrowserContext
) -> None:
    page, there = context.new_page(), context.new_page()
    sign_in(page, "alice")
    there.goto(f"{site.provider.issuer}/session/end")
    there.get_by_role("button", name="Yes").click()
    there.wait_for_url(f"{site.provider.issuer}/session/end/success")
    ended = "1 sessions ended by lab"
    wait_until(
        lambda: ended in [one["note"] for one in site.gateway.audit_records()], 10, "logout token"
    )
    status, text = fetched(context, site.jobs)
    assert (status, json.loads(text)["code"]) == (401, "session-ended")
    page.reload()
    expect(page.get_by_text("One of alice")).to_be_visible()
    at_the_provider(page, "alice")
    is_signed_in(page)


def test_a_tab_goes_on_while_the_provider_is_down_and_is_told_when_it_cannot_any_more(
    site: Site, context: BrowserContext
) -> None:
    page = context.new_page()
    sign_in(page, "alice")
    before = session_id(context)
    site.provider.down()
    page.wait_for_timeout(1000 * (CHECK_SECONDS + 0.2))
    page.reload()
    is_signed_in(page)
    assert fetched(context, site.jobs)[0] == 200
    page.wait_for_timeout(1000 * GRACE_SECONDS)
    page.reload()
    expect(page.get_by_text("provider-unavailable")).to_be_visible()
    expect(page.get_by_text("Try again in a minute.")).to_be_visible()
    assert session_id(context) == before, "a doubt takes nobody's session away"
    site.provider.up()  # it keeps nothing, so that it refuses what it gave out before
    page.wait_for_timeout(11_000)  # after a failure it is left alone for 10 seconds
    page.goto("/me")
    expect(page.get_by_text("One of alice")).to_be_visible()
    at_the_provider(page, "alice")
    is_signed_in(page)
    assert session_id(context) != before


def test_a_gateway_that_restarts_signs_nobody_out_and_ends_no_sign_in(
    site: Site, context: BrowserContext
) -> None:
    """A page, a form and a sign-in that were begun before go on after."""
    page, form, half = context.new_page(), context.new_page(), context.new_page()
    sign_in(page, "alice")
    form.goto("/me")
    context.clear_cookies(name="_session")  # the provider's own, so that it asks again
    half.goto("/login")
    expect(half.get_by_text("One of alice")).to_be_visible()
    before = session_id(context)
    site.gateway.stop()
    with pytest.raises(Error, match="ERR_CONNECTION_REFUSED"):
        page.reload()
    site.gateway.start()
    page.goto("/me")
    is_signed_in(page)
    assert session_id(context) == before
    assert fetched(context, site.jobs)[0] == 200
    form.get_by_role("button", name="Sign out", exact=True).click()
    expect(form.get_by_text("You are signed out here.")).to_be_visible()
    at_the_provider(half, "bob")
    is_signed_in(half)
