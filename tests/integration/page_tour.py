"""A site -> each kind of page that people meet, shown in a real Chromium one after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from playwright.sync_api import BrowserContext, Page, Route, expect

from lab.identity_provider.provider import WEB_NAME
from lab.ports import free_port
from lab.toml_text import Settings
from tests.integration.in_chromium import at_the_provider
from tests.integration.test_sign_in import SESSION, Site

AWAY = "partner"
"""The client of an issuer that does not answer."""


def two_issuers(settings: Settings) -> Settings:
    """Changes that add an issuer that does not answer, so that there is a choice."""
    issuer = f"http://localhost:{free_port()}"
    secret = settings["sign_in"]["clients"][0]["client_secret_file"]
    added = {"issuer": issuer, "audiences": ["https://nowhere.example.org"]}
    client = {
        "name": AWAY,
        "title": "Partner Institute",
        "issuer": issuer,
        "client_id": "slurm-gateway",
        "client_secret_file": secret,
    }
    return {
        "authenticate": {"issuers": [*settings["authenticate"]["issuers"], added]},
        "sign_in": {"clients": [*settings["sign_in"]["clients"], client]},
    }


@dataclass(frozen=True)
class Tour:
    """One browser that is led around."""

    site: Site
    context: BrowserContext

    def kinds(self) -> Iterator[tuple[str, Page]]:
        """(kind, a tab that shows it), in the order of KINDS."""
        page = self.context.new_page()
        for kind, show in KINDS.items():
            show(self, page)
            yield kind, page

    def _post(self, page: Page, path: str) -> None:
        """A form of another site, in this browser."""
        page.goto(f"{self.site.provider.issuer}/.well-known/openid-configuration")
        page.evaluate(
            """(url) => { const f = document.createElement("form"); f.method = "post"; f.action = url;
            document.documentElement.append(f); f.submit(); }""",
            f"{self.site.gateway.url}{path}",
        )
        page.wait_for_url(f"{self.site.gateway.url}{path}")

    def choose(self, page: Page) -> None:
        page.goto("/login")
        expect(page.get_by_role("link", name="Partner Institute")).to_be_visible()

    def signed_in(self, page: Page) -> None:
        """It goes on at once: 204 to where it goes leaves it standing."""

        def hold(route: Route) -> None:
            route.fulfill(status=204)

        page.route("**/me", hold)
        page.get_by_role("link", name="Lab University").click()
        at_the_provider(page, "bob")
        expect(page.get_by_role("heading", name="Signed in")).to_be_visible()
        page.unroute("**/me", hold)

    def my_access(self, page: Page) -> None:
        page.goto("/me")
        expect(page.get_by_role("heading", name="My access")).to_be_visible()
        page.locator("summary", has_text=re.compile("^SUBMIT")).click()

    def foreign_answer(self, page: Page) -> None:
        """An answer of the provider that is not for this browser."""
        page.goto(f"/login/callback/{WEB_NAME}?code=x&state=y")
        self._refused(page, "sign-in-refused")

    def provider_away(self, page: Page) -> None:
        page.goto(f"/login?at={AWAY}")
        self._refused(page, "provider-unavailable")

    def foreign_form(self, page: Page) -> None:
        """Such a form comes without the session's cookie."""
        self._post(page, "/me/sessions/end")
        self._refused(page, "session-ended")

    def forged_form(self, page: Page) -> None:
        """A form that is not of this session's own page."""
        self.my_access(page)
        page.locator("input[name=token]").last.evaluate("(field) => { field.value = 'forged'; }")
        page.get_by_role("button", name="Sign out everywhere").click()
        self._refused(page, "cross-site-request")

    def no_page(self, page: Page) -> None:
        page.goto("/login/callback/nobody")
        self._refused(page, "page-unknown")

    def bad_query(self, page: Page) -> None:
        page.goto("/login?to=/a&to=/b")
        self._refused(page, "target-malformed")

    def signed_out(self, page: Page) -> None:
        page.goto("/me")
        page.get_by_role("button", name="Sign out", exact=True).click()
        expect(page.get_by_role("button", name="Sign out at Lab University too")).to_be_visible()
        assert SESSION not in [one.get("name") for one in self.context.cookies()]

    def no_user(self, page: Page) -> None:
        """Somebody who is no user of the cluster."""
        self.context.clear_cookies()
        page.goto(f"/login?at={WEB_NAME}")
        at_the_provider(page, "dave")
        expect(page.get_by_role("alert")).to_be_visible()

    def _refused(self, page: Page, code: str) -> None:
        expect(page.get_by_role("link", name=code)).to_be_visible()


KINDS: dict[str, Callable[[Tour, Page], None]] = {
    "choose": Tour.choose,
    "signed-in": Tour.signed_in,
    "my-access": Tour.my_access,
    "sign-in-refused": Tour.foreign_answer,
    "provider-unavailable": Tour.provider_away,
    "session-ended": Tour.foreign_form,
    "cross-site-request": Tour.forged_form,
    "page-unknown": Tour.no_page,
    "target-malformed": Tour.bad_query,
    "signed-out": Tour.signed_out,
    "no-slurm-user": Tour.no_user,
}
"""By the name of its image."""
