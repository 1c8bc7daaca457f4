"""Signing in at a real provider, and then real Slurm with the session instead of a token."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import certificates
from lab.gateway import GatewayProcess, settings_for, sign_in_settings
from lab.identity_provider import IdentityProvider
from lab.ports import free_port
from lab.slurm import SlurmRelease
from lab.toml_text import Settings, merged
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
    yield from make_site(folder, one_slurm_release)


def make_site(
    folder: Path, release: SlurmRelease, changes: Settings | None = None
) -> Iterator[Site]:
    port = free_port()
    ca_file = certificates.ensure(folder).authority
    provider = IdentityProvider(
        f"test-{uuid.uuid4().hex[:12]}", audience=f"https://localhost:{port}", ca_file=ca_file
    )
    provider.up()
    settings = merged(settings_for(release, provider, folder, port, free_port()), GENEROUS)
    settings = merged(settings, sign_in_settings(provider, folder))
    gateway = GatewayProcess(folder, merged(settings, changes or {}))
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
