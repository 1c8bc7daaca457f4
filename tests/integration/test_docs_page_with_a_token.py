"""The page on which calls are tried, where nobody signs in and documents are open: a token is typed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from tests.integration.in_chromium import launched
from tests.integration.test_docs_page_in_chromium import Watched, execute, operation

KEPT = """() => [document.documentElement.outerHTML, document.cookie, JSON.stringify({...localStorage}),
JSON.stringify({...sessionStorage}), location.href,
...[...document.querySelectorAll("input")].map((one) => one.value)]"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


def use(page: Page, token: str) -> None:
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Use it").click()


def test_a_token_is_used_and_kept_nowhere(
    one_slurm_release: SlurmRelease,
    gateway: Callable[..., GatewayProcess],
    identity_provider: IdentityProvider,
    chromium: Browser,
) -> None:
    opened = gateway(one_slurm_release, {"authorize": {"openapi_without_token": True}})
    context = chromium.new_context(ignore_https_errors=True, base_url=opened.url)
    page, jobs = context.new_page(), f"/slurm/{one_slurm_release.api_versions[0]}/jobs"
    watched = Watched(page)
    page.goto("/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    everybodys = page.locator(".opblock").count()
    status, text = execute(operation(page, "get", jobs))
    assert (status, "token-missing" in text) == (401, True)
    assert page.get_by_role("alert").get_by_role("link").count() == 0

    token = identity_provider.token_for("bob")
    use(page, token)
    expect(page.get_by_text("A token is in use")).to_be_visible()
    expect(page.locator(".opblock").nth(everybodys)).to_be_visible()
    status, text = execute(operation(page, "get", jobs))
    assert (status, '"jobs"' in text) == (200, True)
    expect(page.locator(".curl")).to_contain_text(jobs)
    signature = token.rpartition(".")[2]
    assert [place for place in page.evaluate(KEPT) if signature in place] == []
    assert context.cookies() == []

    use(page, "not.a.token")
    expect(page.get_by_role("alert")).not_to_be_empty()
    page.reload()
    expect(page.locator(".opblock")).to_have_count(everybodys)
    assert [url for url in watched.urls if not url.startswith(f"{opened.url}/")] == []
    assert [fault for fault in watched.faults if "401" not in fault] == []
    context.close()
    users = [record["user"] for record in opened.audit_records() if record["target"] == jobs]
    assert set(users) == {"", "bob"}
