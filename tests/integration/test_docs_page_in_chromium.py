"""The page on which calls are tried, in a real Chromium, with a real provider and real Slurm behind."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Frame, Locator, Page, expect

from lab.accessibility import axe_script
from lab.identity_provider.provider import ACR
from lab.processes import wait_until
from lab.slurm import SlurmRelease
from lab.submission import state_of, submission, user_of
from tests.integration.in_chromium import PATIENCE_MILLISECONDS, at_the_provider, launched
from tests.integration.test_sign_in import Site, make_site

DOCS = "/docs"
AXE = """async () => {
const passing = document.getAnimations().filter((one) => one.effect.getComputedTiming().endTime !== Infinity);
await Promise.all(passing.map((one) => one.finished.catch(() => null)));
const found = await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa",
"wcag22aa"]}); return found.violations.map((one) => [one.id, one.nodes.map((node) => node.html)]); }"""
"""A button that is changing its colour is looked at when it has."""
HOSTILE = '<img src="/x" onerror="window.owned=1"><script>window.owned=1</script>'


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, one_slurm_release: SlurmRelease
) -> Iterator[Site]:
    step_up = {"operations": ["GET /slurm/*/diag"], "acr_values": [ACR]}
    folder = tmp_path_factory.mktemp("docs-page")
    yield from make_site(folder, one_slurm_release, {"authorize": {"step_up": [step_up]}})


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


def new_context(chromium: Browser, site: Site, **options: Any) -> BrowserContext:
    made = chromium.new_context(ignore_https_errors=True, base_url=site.gateway.url, **options)
    made.set_default_timeout(PATIENCE_MILLISECONDS)
    return made


@pytest.fixture
def context(chromium: Browser, site: Site) -> Iterator[BrowserContext]:
    made = new_context(chromium, site)
    yield made
    made.close()


@pytest.fixture(scope="module")
def alices(chromium: Browser, site: Site) -> Any:
    """The cookies of a browser in which alice has signed in."""
    context = new_context(chromium, site)
    arrive(context.new_page())
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(chromium: Browser, site: Site, alices: Any) -> Iterator[Page]:
    """Her tab, on the page."""
    context = new_context(chromium, site, storage_state=alices)
    made = context.new_page()
    made.goto(DOCS)
    expect(made.locator(".opblock").first).to_be_visible()
    yield made
    context.close()


class Watched:
    """What a tab asks for, complains of and throws, from now on."""

    def __init__(self, page: Page) -> None:
        self.urls: list[str] = []
        self.faults: list[str] = []
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.faults.append(text)

    def elsewhere(self, site: Site) -> list[str]:
        """Whatever was not asked of the gateway."""
        ours = (f"{site.gateway.url}/", "data:", "blob:")
        return [url for url in self.urls if not url.startswith(ours)]


def arrive(page: Page, user: str = "alice", address: str = DOCS) -> None:
    """To the page, through the sign-in that it leads to."""
    page.goto(address)
    at_the_provider(page, user)
    expect(page.locator(".opblock").first).to_be_visible()
    assert page.url.partition("?")[0].endswith(DOCS)


def operation(page: Page, method: str, path: str) -> Locator:
    """Opened."""
    block = page.locator(f".opblock-{method}", has=page.locator(f'[data-path="{path}"]'))
    block.locator(".opblock-summary-control").click()
    return block


def execute(block: Locator) -> tuple[int, str]:
    """(status, what is shown of the answer)."""
    block.get_by_role("button", name="Execute").click()
    answer = block.locator(".live-responses-table").first
    expect(answer).to_be_visible()
    expect(block.locator(".loading-container")).to_have_count(0)
    status = answer.locator("tbody .response-col_status").first.inner_text()
    return int(status.split()[0]), answer.locator("pre").first.inner_text()


def path_of(site: Site, rest: str) -> str:
    return f"/slurm/{site.release.api_versions[0]}{rest}"


def job(site: Site, job_id: int) -> dict[str, Any]:
    status, body = site.release.request("alice", "GET", path_of(site, f"/job/{job_id}"))
    assert status == 200
    found: dict[str, Any] = json.loads(body)["jobs"][0]
    return found


def wait_for(site: Site, job_id: int, state: str) -> None:
    wait_until(lambda: state_of(job(site, job_id)) == state, 60, f"job {job_id}: {state}")


def test_somebody_signs_in_lists_submits_and_cancels_from_the_page(
    site: Site, context: BrowserContext
) -> None:
    page = context.new_page()
    arrive(page)
    watched = Watched(page)
    page.reload()
    expect(page.get_by_text("alice", exact=True)).to_be_visible()

    # Not the list of jobs: what other tests leave behind makes it longer than the page shows.
    status, text = execute(operation(page, "get", path_of(site, "/nodes")))
    assert status == 200
    assert "nodes" in json.loads(text)

    submit = operation(page, "post", path_of(site, "/job/submit"))
    status, text = execute(submit)
    assert status == 200, text
    job_id = int(json.loads(text)["job_id"])
    wait_for(site, job_id, "COMPLETED")
    assert user_of(job(site, job_id)) == "alice"

    body = submission(site.release.api_versions[0], "#!/bin/sh\nsleep 300")
    submit.get_by_label("Body of the request").fill(json.dumps(body))
    submit.get_by_placeholder("Idempotency-Key").fill('"from-the-page-1"')
    status, text = execute(submit)
    assert status == 200, text
    sleeping = int(json.loads(text)["job_id"])
    submit.get_by_role("button", name="Execute").click()
    expect(submit.get_by_text("idempotent-replayed: true")).to_be_visible()

    cancel = operation(page, "delete", path_of(site, "/job/{job_id}"))
    cancel.get_by_placeholder("job_id").fill(str(sleeping))
    status, text = execute(cancel)
    assert status == 200, text
    wait_for(site, sleeping, "CANCELLED")

    assert watched.elsewhere(site) == []
    assert watched.faults == []
    records = [one for one in site.gateway.audit_records() if one["method"] in ("POST", "DELETE")]
    calls = [one for one in records if one["target"].startswith("/slurm/")]
    assert {one["user"] for one in calls} == {"alice"}
    assert all(one["token_hash"].startswith("session:") for one in calls)


def test_a_refusal_is_shown_with_its_code(site: Site, page: Page) -> None:
    submit = operation(page, "post", path_of(site, "/job/submit"))
    submit.get_by_label("Body of the request").fill('{"job": {"user_id": 0}}')
    status, text = execute(submit)
    assert (status, json.loads(text)["code"]) == (403, "field-forbidden")


def test_each_person_sees_what_is_true_for_them(site: Site, context: BrowserContext) -> None:
    """In one browser, one after the other: nothing of the first is shown to the second, nor by going back."""
    page = context.new_page()
    arrive(page, "bob")
    operators = page.locator(".opblock").count()
    page.goto("/me")
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_text("You are signed out here.")).to_be_visible()
    context.clear_cookies()  # the provider's as well
    page.go_back()
    page.go_back()
    page.wait_for_url(f"{site.provider.issuer}/**")
    arrive(page, "alice")
    expect(page.get_by_text("alice", exact=True)).to_be_visible()
    assert 0 < page.locator(".opblock").count() < operators


def test_what_needs_a_stronger_sign_in_says_so_and_leads_there(
    site: Site, context: BrowserContext
) -> None:
    page = context.new_page()
    arrive(page, "bob")
    diag = operation(page, "get", path_of(site, "/diag"))
    assert execute(diag)[0] == 401
    with context.expect_page() as opened:
        page.get_by_role("alert").get_by_role("link").click()
    at_the_provider(opened.value, "bob", strongly=True)
    expect(opened.value.locator(".opblock").first).to_be_visible()
    diag.get_by_role("button", name="Execute").click()
    expect(diag.get_by_text('"statistics"').first).to_be_visible()
    expect(page.get_by_role("alert")).to_be_empty()


def test_a_session_that_has_ended_is_told_and_nothing_typed_is_lost(site: Site, page: Page) -> None:
    submit = operation(page, "post", path_of(site, "/job/submit"))
    submit.get_by_label("Body of the request").fill('{"mine": 1}')
    page.context.clear_cookies()
    assert execute(submit)[0] == 401
    expect(page.get_by_role("alert").get_by_role("link")).to_have_attribute(
        "href", re.compile(r"^/login\?to=%2Fdocs$")
    )
    expect(submit.get_by_label("Body of the request")).to_have_value('{"mine": 1}')


@pytest.mark.parametrize(
    "query",
    [
        "url={evil}/openapi.json",
        "configUrl={evil}/config.json",
        "urls=[{{%22url%22:%22{evil}/x%22}}]&urls.primaryName=x",
        "oauth2RedirectUrl={evil}&validatorUrl={evil}&spec={{}}&layout=x",
    ],
)
def test_the_address_cannot_make_the_page_load_anything_else(
    site: Site, page: Page, query: str
) -> None:
    watched = Watched(page)
    page.goto(f"{DOCS}?{query.format(evil='https://evil.example.org')}#{HOSTILE}")
    expect(page.locator(".opblock").first).to_be_visible()
    expect(page.locator(f'[data-path="{path_of(site, "/jobs")}"]')).to_be_visible()
    assert watched.elsewhere(site) == []
    assert watched.faults == []


def hostile(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The same with markup wherever a text stands that is shown."""
    links = "[a](javascript:window.owned=1) <a href='javascript:window.owned=1'>b</a>"
    text = f"{HOSTILE} {links} <form action='https://evil.example.org'><button>c</button></form>"
    document["info"] |= {"title": HOSTILE, "description": text}
    document["tags"] = [{"name": "slurm", "description": text}]
    call = document["paths"][path]["get"]
    call |= {"summary": HOSTILE, "description": text, "operationId": f"x{HOSTILE}"}
    call["externalDocs"] = {"url": "javascript:window.owned=1", "description": text}
    call["parameters"] = [
        {"name": HOSTILE, "in": "query", "description": text, "schema": {"type": "string"}}
    ]
    document["paths"] = {path: document["paths"][path], f"/slurm/{HOSTILE}": {"get": call}}
    return document


def test_texts_of_the_document_and_of_answers_run_nothing(site: Site, page: Page) -> None:
    path = path_of(site, "/jobs")
    watched = Watched(page)
    document = page.evaluate("fetch('/openapi.json').then((answer) => answer.json())")
    page.route("**/openapi.json", lambda route: route.fulfill(json=hostile(document, path)))
    problem = {"detail": HOSTILE, "acr_values": HOSTILE, "code": HOSTILE}
    headers = {"content-type": "text/html", "x-hostile": HOSTILE}
    page.route(
        f"**{path}*",
        lambda route: route.fulfill(status=401, body=json.dumps(problem), headers=headers),
    )
    page.reload()
    block = page.locator(".opblock", has=page.locator(f'[data-path="{path}"]'))
    block.locator(".opblock-summary-control").click()
    expect(block.get_by_role("button", name="Execute")).to_be_visible()
    assert execute(block)[0] == 401
    page.evaluate("document.querySelectorAll('#calls a, #notice a').forEach((one) => one.click())")
    page.wait_for_timeout(500)
    assert page.evaluate("window.owned") is None
    assert page.locator("#calls script, #calls [onerror], #notice img").count() == 0
    assert page.locator("a[href^=javascript], form[action*=evil]").count() == 0
    assert watched.elsewhere(site) == []


def test_the_policy_holds_even_where_markup_gets_in(site: Site, page: Page) -> None:
    """A script in the page, one from an answer of ours, one from elsewhere, and a call to elsewhere."""
    outcome = page.evaluate(
        """async (address) => {
        const add = (change) => new Promise((done) => { const made = document.createElement("script");
          made.onload = () => done("ran"); made.onerror = () => done("held"); change(made);
          document.body.append(made); setTimeout(() => done("held"), 1000); });
        const markup = document.createElement("div"); document.body.append(markup);
        markup.innerHTML = "<img src='/x' onerror='window.owned=1'>";
        const said = [await add((one) => { one.textContent = "window.owned = 1"; }),
          await add((one) => { one.src = address; }),
          await add((one) => { one.src = document.querySelector("script[src]").src; }),
          await add((one) => { one.src = "https://evil.example.org/x.js"; })];
        const sent = await fetch("https://evil.example.org/", {mode: "no-cors"}).then(() => "sent", () => "held");
        return [...said, sent, window.owned ?? null]; }""",
        path_of(site, "/jobs"),
    )
    assert outcome == ["held"] * 5 + [None]


def is_refused(frame: Frame) -> bool:
    """What stands in it in the end is Chromium's own page that says so."""
    for _ in range(300):
        if frame.url.startswith("chrome-error://"):
            return True
        frame.page.wait_for_timeout(100)
    return False


def test_the_page_is_not_shown_in_a_frame(site: Site, page: Page) -> None:
    """Not even on our own origin, where the session's cookie goes along."""
    for place in ("/", f"{site.provider.issuer}/.well-known/openid-configuration"):
        around = page.context.new_page()
        around.goto(place)
        around.evaluate(
            """(url) => { const made = document.createElement("iframe"); made.src = url;
            document.documentElement.append(made); }""",
            f"{site.gateway.url}{DOCS}",
        )
        (frame,) = (frame for frame in around.frames if frame != around.main_frame)
        assert is_refused(frame)


@pytest.mark.parametrize("width", [1200, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_fits_a_phone_and_a_keyboard(
    site: Site, chromium: Browser, alices: Any, scheme: Any, width: int
) -> None:
    context = new_context(
        chromium,
        site,
        storage_state=alices,
        color_scheme=scheme,
        viewport={"width": width, "height": 640},
    )
    page = context.new_page()
    page.goto(DOCS)
    expect(page.locator(".opblock").first).to_be_visible()
    page.evaluate(axe_script())
    assert page.evaluate(AXE) == []
    first = page.locator(".opblock-summary-control").first
    first.focus()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Execute").first).to_be_visible()
    for method, rest in (("post", "/job/submit"), ("delete", "/job/{job_id}")):
        operation(page, method, path_of(site, rest))
    execute(operation(page, "get", path_of(site, "/ping")))
    assert page.evaluate(AXE) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_label("API version").select_option("v0.0.36")
    expect(page.locator(".opblock-deprecated").first).to_be_visible()
    assert page.evaluate(AXE) == []
    context.close()


def test_a_long_answer_is_cut_and_says_so(site: Site, page: Page) -> None:
    path = path_of(site, "/jobs")
    body = json.dumps({"jobs": ["x" * 100] * 30_000})
    page.route(f"**{path}", lambda route: route.fulfill(body=body, content_type="application/json"))
    status, text = execute(operation(page, "get", path))
    assert status == 200
    assert 1_000_000 < len(text) < 1_001_000
    expect(page.get_by_role("alert")).to_have_text(re.compile(f"has {len(body)} characters"))
