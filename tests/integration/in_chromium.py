"""A real Chromium, and a person's way through the pages in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from lab import packages
from lab.machine import MachineLacksError
from lab.progress import Progress

PROGRAM = "/usr/bin/chromium"
PATIENCE_MILLISECONDS = 60_000
"""Until a page shows what it should, on a machine that other tests share."""
FETCH = """async (path) => { const a = await fetch(path, {headers: {accept: "application/json"}});
return [a.status, await a.text()]; }"""


@contextmanager
def launched() -> Iterator[Browser]:
    """Debian's Chromium, installed where it is missing."""
    if not Path(PROGRAM).exists():
        try:
            packages.install(packages.GROUPS["chromium"], Progress("chromium"))
        except MachineLacksError as lacking:
            pytest.skip(str(lacking))
    expect.set_options(timeout=PATIENCE_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=PROGRAM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


def at_the_provider(page: Page, user: str, *, strongly: bool = False) -> None:
    page.get_by_label("User").fill(user)
    if strongly:
        page.get_by_label("second factor").check()
    page.get_by_role("button", name="Sign in").click()


def fetched(context: BrowserContext, path: str) -> tuple[int, str]:
    """By a script of this origin. The pages of the sign-in let none of theirs connect anywhere; "/" has no policy."""
    page = context.new_page()
    page.goto("/")
    status, text = page.evaluate(FETCH, path)
    page.close()
    return int(status), str(text)


def sign_in(page: Page, user: str) -> None:
    page.goto("/me")
    at_the_provider(page, user)
    expect(page.get_by_role("heading", name="My access")).to_be_visible()
