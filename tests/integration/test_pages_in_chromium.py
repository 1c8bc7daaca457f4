"""Each page as people meet it: readable, usable without a mouse, and as the documentation shows it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect

from gateway.sign_in.targets import local_target
from lab.accessibility import axe_script
from lab.places import CHECKOUT
from lab.slurm import SlurmRelease
from tests.integration.in_chromium import PATIENCE_MILLISECONDS, at_the_provider, launched
from tests.integration.page_tour import KINDS, Tour, two_issuers
from tests.integration.test_sign_in import Site, make_site

IMAGES = CHECKOUT / "docs/images"
DESKTOP, PHONE, PICTURE = (1000, 700), (360, 640), (720, 1160)
_MOVES = 5
AXE = """async () => { const found = await axe.run(document, {rules: {"target-size": {enabled: true}}});
return [...found.violations, ...found.incomplete].map((one) =>
[one.id, one.help, one.nodes.map((node) => node.html)]); }"""
"""What axe cannot decide counts as well: on pages as plain as these it can decide everything."""


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, one_slurm_release: SlurmRelease
) -> Iterator[Site]:
    usual = {"limit": {"rates": None}}
    folder = tmp_path_factory.mktemp("pages")
    yield from make_site(folder, one_slurm_release, usual, two_issuers)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def axe() -> str:
    return axe_script()


def new_context(
    chromium: Browser, site: Site, size: tuple[int, int] = DESKTOP, scheme: Any = "light"
) -> BrowserContext:
    made = chromium.new_context(
        ignore_https_errors=True,
        base_url=site.gateway.url,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
    )
    made.set_default_timeout(PATIENCE_MILLISECONDS)
    return made


def faults(page: Page, axe: str) -> list[Any]:
    """Of the page that it has become: one of them goes on by itself, and would leave in the middle."""
    for _ in range(_MOVES):
        with suppress(Error):
            page.wait_for_load_state()
            page.evaluate(axe)
            return list(page.evaluate(AXE))
    raise AssertionError("the page does not stay")


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_fault_of_accessibility_or_is_wider_than_its_screen(
    site: Site, chromium: Browser, axe: str, scheme: str, size: tuple[int, int]
) -> None:
    context = new_context(chromium, site, size, scheme)
    found, wide = {}, []
    for kind, page in Tour(site, context).kinds():
        found[kind] = faults(page, axe)
        if page.evaluate("document.documentElement.scrollWidth") > size[0]:
            wide.append(kind)
    context.close()
    assert list(found) == list(KINDS)
    assert {kind: faults for kind, faults in found.items() if faults} == {}
    assert wide == []


def test_what_is_wrong_with_a_page_is_found(site: Site, chromium: Browser, axe: str) -> None:
    context = new_context(chromium, site)
    page = context.new_page()
    page.goto("/login")
    page.evaluate("""() => { document.documentElement.removeAttribute("lang");
    document.querySelector(".choices a").style.color = "#0b4f8e"; }""")
    assert {fault[0] for fault in faults(page, axe)} == {"html-has-lang", "color-contrast"}
    context.close()


def focus(page: Page, name: str) -> None:
    """By the key alone, and seen by an outline."""
    wanted = page.get_by_role("button", name=name).or_(page.get_by_role("link", name=name)).first
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("(element) => element === document.activeElement"):
            width = wanted.evaluate(
                "(element) => parseFloat(getComputedStyle(element).outlineWidth)"
            )
            assert width >= 2, f"the focus on {name} is to be seen"
            return
    raise AssertionError(f"{name} cannot be reached with the keyboard")


def test_the_keyboard_is_enough_to_sign_in_end_a_session_and_sign_out(
    site: Site, chromium: Browser
) -> None:
    away, context = new_context(chromium, site), new_context(chromium, site)
    other, page = away.new_page(), context.new_page()
    other.goto("/login?at=lab")
    at_the_provider(other, "alice")
    expect(other.get_by_role("heading", name="My access")).to_be_visible()
    handle = other.locator("li", has_text="This one").locator("code").inner_text()
    page.goto("/login")
    focus(page, "Lab University")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{site.provider.issuer}/**")
    expect(page.get_by_label("User")).to_be_focused()
    page.keyboard.type("alice")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="My access")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    focus(page, f"End session {handle}")
    page.keyboard.press("Enter")
    expect(page.get_by_text(handle)).to_have_count(0)
    other.reload()
    other.wait_for_url(f"{site.gateway.url}/login")
    focus(page, "Sign out")
    page.keyboard.press("Enter")
    expect(page.get_by_text("You are signed out here.")).to_be_visible()
    away.close()
    context.close()


def test_the_pictures_in_the_documentation_are_of_these_pages(
    site: Site, chromium: Browser, tmp_path: Path
) -> None:
    """`make screenshots` has this write them into docs/images."""
    folder = Path(os.environ.get("SLURM_GATEWAY_SCREENSHOTS") or tmp_path)
    context = new_context(chromium, site, PICTURE)
    for kind, page in Tour(site, context).kinds():
        seen = page.evaluate("document.querySelector('main').getBoundingClientRect().bottom")
        clip = {"x": 0, "y": 0, "width": PICTURE[0], "height": min(seen, PICTURE[1])}
        page.screenshot(path=folder / f"{kind}.png", clip=clip)  # type: ignore[arg-type]  # a dict will do
    context.close()
    assert {path.stem for path in folder.glob("*.png")} == set(KINDS)


def test_no_target_leaves_the_origin_by_the_browsers_own_reading(
    chromium: Browser,
) -> None:
    """However a target is written, what the gateway makes of it is a path of ours to Chromium's parser too."""
    corpus = tomllib.loads((CHECKOUT / "tests/security/corpus/sign_in_targets.toml").read_text())
    bad = corpus["refused"]
    assert len(bad) >= 300
    page = chromium.new_page()
    leaving = """(targets) => targets.filter((one) => { try {
    return new URL(one, "https://slurm.example.org/login/callback/lab").origin !== "https://slurm.example.org";
    } catch { return false; } })"""
    assert len(page.evaluate(leaving, bad)) > 150, "the corpus is worth its name"
    assert page.evaluate(leaving, [local_target(one) for one in bad + corpus["local"]]) == []
    page.close()
