"""Signing in at a real provider, and then real Slurm with the session instead of a token."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import certificates
from lab.gateway import GatewayProcess, settings_for, sign_in_settings
from lab.identity_provider import IdentityProvider
from lab.identity_provider.provider import ACR
from lab.ports import free_port
from lab.processes import wait_until
from lab.slurm import SlurmRelease
from lab.toml_text import Settings, merged
from tests.forked import launch
from tests.integration.browsing import HttpBrowser
from tests.integration.conftest import GENEROUS

SESSION = "__Host-slurm-gateway-session"


@dataclass
class Site:
    """A gateway and a provider that know each other."""

    gateway: GatewayProcess
    provider: IdentityProvider
    release: SlurmRelease

    def browser(self) -> HttpBrowser:
        return HttpBrowser(self.gateway.url, self.gateway.ca_file)

    @property
    def jobs(self) -> str:
        return f"/slurm/{self.release.api_versions[0]}/jobs"


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, one_slurm_release: SlurmRelease
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("sign-in") / "gateway"
    folder.mkdir()
    step_up = {"operations": ["GET /slurm/*/diag"], "acr_values": [ACR]}
    yield from make_site(folder, one_slurm_release, {"authorize": {"step_up": [step_up]}})


def make_site(
    folder: Path,
    release: SlurmRelease,
    changes: Settings | None = None,
    change: Callable[[Settings], Settings] = lambda _: {},
) -> Iterator[Site]:
    """`change` makes changes out of the settings that there are."""
    port = free_port()
    ca_file = certificates.ensure(folder).authority
    provider = IdentityProvider(
        f"test-{uuid.uuid4().hex[:12]}", audience=f"https://localhost:{port}", ca_file=ca_file
    )
    provider.up()
    settings = merged(settings_for(release, provider, folder, port, free_port()), GENEROUS)
    settings = merged(settings, sign_in_settings(provider, folder))
    settings = merged(settings, changes or {})
    gateway = GatewayProcess(folder, merged(settings, change(settings)))
    gateway.launch = launch
    try:
        gateway.start()
        yield Site(gateway, provider, release)
    finally:
        gateway.stop()
        provider.down()
        shutil.rmtree(provider.log.parent)


def test_a_person_signs_in_and_calls_slurm_with_the_session_and_signs_out(site: Site) -> None:
    browser = site.browser()
    arrived = browser.sign_in("alice")
    assert arrived.status == 200, arrived.body
    assert arrived.onward == f"{site.gateway.url}/me"
    cookie = browser.cookie(SESSION)
    assert cookie is not None
    assert cookie.secure
    assert cookie.path == "/"
    assert not cookie.domain_specified
    assert {"HttpOnly", "SameSite"} <= set(cookie._rest)  # type: ignore[attr-defined]  # where the jar keeps them

    me = browser.open("/me")
    assert me.status == 200
    assert "<dt>Slurm user</dt><dd><strong>alice</strong></dd>" in me.body

    answer = browser.call(site.jobs)
    assert answer.status == 200, answer.body
    record = site.gateway.audit_record(answer.headers["x-request-id"])
    assert record["user"] == "alice"
    assert record["token_hash"].startswith("session:")

    action, fields = me.form("/logout")
    out = browser.open(action, fields)
    assert out.status == 200
    assert "You are signed out here." in out.body
    assert browser.cookie(SESSION) is None
    assert browser.call(site.jobs).status == 401


def provider_logout(site: Site, browser: HttpBrowser) -> None:
    """Somebody leaves at the provider itself, on its own page."""
    page = browser.open(f"{site.provider.issuer}/session/end")
    xsrf = re.search(r'name="xsrf" value="(\w+)"', page.body)
    assert xsrf, page.body
    target = f"{site.provider.issuer}/session/end/confirm"
    done = browser.open(target, {"xsrf": xsrf[1], "logout": "yes"})
    assert done.status == 200, done.body


def test_who_leaves_at_the_provider_has_left_here(site: Site) -> None:
    """By its real logout token, over TLS, to the gateway."""
    browser = site.browser()
    browser.sign_in("alice")
    assert browser.call(site.jobs).status == 200
    provider_logout(site, browser)
    wait_until(lambda: browser.call(site.jobs).status == 401, 10, "the logout token")
    notes = [record["note"] for record in site.gateway.audit_records()]
    assert "1 sessions ended by lab" in notes


def test_who_signs_out_here_may_do_so_at_the_provider_too(site: Site) -> None:
    browser = site.browser()
    browser.sign_in("alice")
    action, fields = browser.open("/me").form("/logout")
    out = browser.open(action, fields)
    end_session, hidden = out.form(f"{site.provider.issuer}/session/end")
    assert set(hidden) == {"client_id", "post_logout_redirect_uri"}
    assert site.provider.issuer in out.headers["content-security-policy"]
    asked = browser.open(f"{end_session}?{urllib.parse.urlencode(hidden)}")
    xsrf = re.search(r'name="xsrf" value="(\w+)"', asked.body)
    assert xsrf, asked.body
    confirm = f"{site.provider.issuer}/session/end/confirm"
    back = browser.open(confirm, {"xsrf": xsrf[1], "logout": "yes"})
    assert back.url.startswith(f"{site.gateway.url}/login/signed-out")
    assert "One of alice" in browser.open("/login").body, "the provider asks again"


def test_a_stronger_sign_in_is_asked_for_done_and_enough(site: Site) -> None:
    """An operation that asks for the second factor, in the browser that navigates to it."""
    browser = site.browser()
    browser.sign_in("bob")
    before = browser.cookie(SESSION)
    diag = f"/slurm/{site.release.api_versions[0]}/diag"
    weak = browser.open(diag)
    assert weak.status == 401
    assert json.loads(weak.body)["acr_values"] == ACR
    onward = weak.headers["refresh"].partition("url=")[2]
    refused = browser.sign_in("bob", onward)
    assert refused.status == 400, "the second factor was not ticked"
    assert "sign-in-refused" in refused.body
    assert browser.open(diag).status == 401, "and no loop"
    back = browser.sign_in("bob", onward, strongly=True)
    assert back.onward == f"{site.gateway.url}{diag}"
    after = browser.cookie(SESSION)
    assert before is not None
    assert after is not None
    assert after.value != before.value
    answer = browser.open(diag)
    assert answer.status == 200, answer.body
    record = site.gateway.audit_record(answer.headers["x-request-id"])
    assert (record["acr"], record["amr"]) == (ACR, ["pwd", "otp"])
    assert record["time"][:10] <= record["auth_time"][:19] <= record["time"][:19]


def test_a_code_works_once_and_in_one_browser(site: Site) -> None:
    browser, thief = site.browser(), site.browser()
    login = browser.open("/login")
    stopped = browser.open(login.url, {"login": "alice"}, stop_at=site.gateway.url)
    assert stopped.status == 303
    callback = browser.hops[-1]
    stolen = thief.open(callback, headers={"sec-fetch-site": "cross-site"})
    assert stolen.status == 400
    assert thief.cookie(SESSION) is None
    arrived = browser.open(callback, headers={"sec-fetch-site": "cross-site"})
    assert arrived.status == 200, arrived.body
    again = browser.open(callback, headers={"sec-fetch-site": "cross-site"})
    assert again.status == 400
    code = re.search(r"code=([\w-]+)", callback)
    assert code is not None
    assert code[1] not in site.gateway.audit_file.read_text() + site.gateway.log.read_text()


def test_one_person_is_the_same_user_by_either_door(site: Site) -> None:
    browser = site.browser()
    browser.sign_in("bob")
    by_session = browser.call(site.jobs)
    by_token = site.gateway.ask("GET", site.jobs, site.provider.token_for("bob"))
    records = [
        site.gateway.audit_record(one.headers["x-request-id"]) for one in (by_session, by_token)
    ]
    for name in ("user", "roles", "issuer", "subject"):
        assert records[0][name] == records[1][name]
    assert records[0]["roles"] == ["user", "operator"]


def test_a_session_is_refreshed_at_the_provider_and_outlives_a_restart(
    tmp_path: Path, one_slurm_release: SlurmRelease
) -> None:
    for site in make_site(tmp_path, one_slurm_release, {"sign_in": {"check_seconds": 1.0}}):
        browser = site.browser()
        browser.sign_in("alice")
        for _ in range(3):
            time.sleep(1.1)
            assert browser.call(site.jobs).status == 200
        site.gateway.stop()
        site.gateway.start()
        assert browser.call(site.jobs).status == 200
        site.provider.down()
        time.sleep(1.1)
        assert browser.call(site.jobs).status == 200, "a provider that is down is waited for"
        site.provider.up()  # it has forgotten its refresh tokens
        time.sleep(11)
        gone = browser.call(site.jobs)
        assert (gone.status, json.loads(gone.body)["code"]) == (401, "session-ended")
