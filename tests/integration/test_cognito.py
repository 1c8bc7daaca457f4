"""Signing in at Amazon Cognito as its page has it: moto's pool, and sign-in pages on a host of their own."""

import asyncio
import re
import ssl
import tomllib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import trustme

from gateway.app_running import Application
from gateway.config.gateway import Gateway
from gateway.config.load import validate
from lab.toml_text import merged
from tests.cognito import CognitoPool, HostedPages, moto_pool, serving_pages
from tests.configurations import ends_in
from tests.provider_pages import CLIENT_SECRET, below_page, read_page, settings_of
from tests.running import bearer, running
from tests.scripted_upstream import ScriptedUpstream, answer, answering
from tests.sign_in_world import NAVIGATION, ORIGIN, SESSION

CALLBACK = f"{ORIGIN}/login/callback/cognito"
SIGNED_OUT = f"{ORIGIN}/login/signed-out"
PING, ACCOUNTS = "/slurm/v0.0.42/ping", "/slurmdb/v0.0.42/accounts"


@dataclass
class World:
    """A gateway with the page's configuration, whose pool is moto's."""

    application: Application
    pool: CognitoPool
    pages: HostedPages
    authority: ssl.SSLContext
    audit: Path

    def browser(self) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=self.application, client=("192.0.2.7", 40000))
        return httpx2.AsyncClient(transport=transport, base_url=ORIGIN, headers=NAVIGATION)

    async def visit(self, url: str, **query: str) -> httpx2.Response:
        """The same person at the pool's domain."""
        async with httpx2.AsyncClient(verify=self.authority, trust_env=False, timeout=60) as client:
            return await client.get(url, params=query or None)

    async def sign_in(self, browser: httpx2.AsyncClient) -> httpx2.Response:
        begun = await browser.get("/login", params={"at": "cognito"})
        assert begun.status_code == 303, begun.text
        there = await self.visit(begun.headers["location"])
        assert there.status_code == 302, there.text
        assert there.headers["location"].startswith(CALLBACK)
        return await browser.get(there.headers["location"])

    def told(self) -> list[tuple[str, str]]:
        """Codes and notes of what was refused."""
        return [(one["code"], one["note"]) for one in ends_in(self.audit) if one["code"]]


@pytest.fixture(scope="module")
def pool() -> Iterator[CognitoPool]:
    with moto_pool() as made:
        made.add_user("bob", "hpc-operators")
        yield made


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


@pytest.fixture
async def world(pool: CognitoPool, authority: trustme.CA, tmp_path: Path) -> AsyncIterator[World]:
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(served)
    visiting = ssl.create_default_context()
    authority.configure_trust(visiting)
    pages = HostedPages(pool, CALLBACK, SIGNED_OUT, CLIENT_SECRET)
    with serving_pages(pages, served):
        async with ScriptedUpstream(answering(lambda _seen: answer())) as upstream:
            config = configuration_for(pool, pages, tmp_path, upstream.url)
            async with running(config) as application:
                yield World(application, pool, pages, visiting, tmp_path / "audit.jsonl")


def configuration_for(
    pool: CognitoPool, pages: HostedPages, folder: Path, upstream: str
) -> Gateway:
    """The page's own, with moto's names, and with where its keys and pages are."""
    text = read_page("cognito").toml
    for ours, theirs in (
        ("eu-central-1_AbCdEf123", pool.pool_id),
        ("2slurmcli23456789example", pool.client_id),
        ("1slurmweb23456789example", pages.client_id),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    settings = settings_of(text, folder)
    (issuer,) = settings["authenticate"]["issuers"]
    issuer |= {"jwks_url": pool.jwks_url, "ca_file": str(folder / "ca.pem")}
    (client,) = settings["sign_in"]["clients"]
    client |= {"metadata_url": pages.metadata_url}
    settings["sign_in"]["check_seconds"] = 0.1
    return validate(merged(below_page(folder, upstream), settings))


async def test_a_person_signs_in_on_the_pools_own_domain_and_is_the_same_by_token(
    world: World,
) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    assert browser.cookies.get(SESSION), world.told()
    assert (await browser.get(PING)).status_code == 200, world.told()
    async with world.browser() as command_line:
        token = world.pool.sign_in(world.pool.client_id)["AccessToken"]
        found = await command_line.get(PING, headers=bearer(token))
    assert found.status_code == 200, world.told()
    passed = [one for one in ends_in(world.audit) if one["target"] == PING]
    assert [one["user"] for one in passed] == ["alice", "alice"]
    assert len({one["subject"] for one in passed}) == 1


async def test_the_groups_of_a_sign_in_give_its_roles(world: World) -> None:
    for user, status in (("alice", 403), ("bob", 200)):
        world.pages.user = user
        browser = world.browser()
        await world.sign_in(browser)
        assert (await browser.get(ACCOUNTS)).status_code == status, world.told()


async def test_the_browser_is_sent_with_pkce_although_the_metadata_does_not_name_it(
    world: World,
) -> None:
    begun = await world.browser().get("/login", params={"at": "cognito"})
    where = urlsplit(begun.headers["location"])
    assert f"https://{where.netloc}" == world.pages.url
    assert urlsplit(world.pages.metadata_url).netloc != where.netloc
    asked = parse_qs(where.query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == [CALLBACK]
    assert asked["scope"] == ["openid profile"]


async def test_signing_out_goes_to_the_pools_logout_in_its_own_form(world: World) -> None:
    browser = world.browser()
    await world.sign_in(browser)
    page = (await browser.get("/me")).text
    (token,) = set(re.findall(r'name="token" value="(\w+)"', page))
    left = await browser.post("/logout", data={"token": token})
    assert not browser.cookies.get(SESSION)
    form = re.search(r'<form[^>]*action="([^"]+)"[^>]*>(.*?)</form>', left.text, re.DOTALL)
    assert form is not None
    assert form[1] == f"{world.pages.url}/logout"
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[2]))
    assert fields == {"client_id": world.pages.client_id, "logout_uri": SIGNED_OUT}
    back = await world.visit(form[1], **fields)
    assert (back.status_code, back.headers["location"]) == (302, SIGNED_OUT)


async def test_openid_connects_own_form_of_signing_out_would_be_refused_there(
    world: World,
) -> None:
    """Which is why it has a setting."""
    asked = {"client_id": world.pages.client_id, "post_logout_redirect_uri": SIGNED_OUT}
    assert (await world.visit(f"{world.pages.url}/logout", **asked)).status_code == 400


@pytest.mark.parametrize(
    ("claims", "note"),
    [
        ({"aud": "somebody-elses"}, "ID token: aud is not this client"),
        ({"token_use": "access"}, "ID token: not an ID token"),
        ({"nonce": "of another sign-in"}, "ID token: nonce is not the one that was sent"),
        ({"at_hash": "b3RoZXI"}, "ID token: at_hash is not that of the access token"),
        (
            {"iss": "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Other"},
            "ID token: iss is not the issuer that was asked",
        ),
        ({"sub": "99999999-bbbb-cccc-dddd-eeeeeeeeeeee"}, "ID token: userinfo is about another"),
    ],
)
async def test_an_id_token_that_is_not_for_this_sign_in_is_refused(
    world: World, claims: dict[str, Any], note: str
) -> None:
    world.pages.claims = claims
    browser = world.browser()
    found = await world.sign_in(browser)
    assert found.status_code == 400
    assert not browser.cookies.get(SESSION)
    ((code, told),) = world.told()
    assert (code, told[: len(note)]) == ("sign-in-refused", note)


async def test_a_code_is_good_once(world: World) -> None:
    """There and here: the second browser has no flow, and Cognito would not know the code."""
    browser = world.browser()
    begun = await browser.get("/login", params={"at": "cognito"})
    there = await world.visit(begun.headers["location"])
    first = await browser.get(there.headers["location"])
    assert first.status_code < 400
    again = await browser.get(there.headers["location"])
    assert again.status_code == 400


async def test_a_global_sign_out_at_cognito_ends_the_session_at_its_next_check(
    world: World,
) -> None:
    world.pages.user = "bob"
    browser = world.browser()
    await world.sign_in(browser)
    await asyncio.sleep(1.1)  # what was found stands for a second
    assert (await browser.get(PING)).status_code == 200, world.told()
    world.pool.sign_out_everywhere("bob")
    await asyncio.sleep(1.1)
    ended = await browser.get(PING)
    assert ended.status_code == 401, world.told()
    assert world.told()[-1] == ("session-ended", "the provider has ended it")


def test_the_page_and_this_file_mean_the_same_uris() -> None:
    page = read_page("cognito")
    assert f"`{CALLBACK}`" in page.text
    assert f"`{SIGNED_OUT}`" in page.text
    assert tomllib.loads(page.toml)["sign_in"]["clients"][0]["logout"] == "cognito"
