"""What is known of an issuer by its metadata: where to sign in, and what may be told of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.app_openapi import all_facts
from gateway.edges.discovery import trust
from gateway.edges.provider_metadata import ProviderMetadata
from gateway.openapi.own_part import IssuerFacts
from gateway.sign_in.provider import ProviderDoubt
from tests.fakes import FakeClock
from tests.key_server import Answer, KeyServer, serving

OIDC = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    async with serving() as made:
        yield made


def describe(server: KeyServer, **members: Any) -> None:
    good = {
        "authorization_endpoint": f"{server.url}/authorize",
        "token_endpoint": f"{server.url}/token",
        "scopes_supported": ["openid", 7, "profile"],
        "grant_types_supported": ["authorization_code", "client_credentials"],
    }
    found = {**good, **members}
    server.describe(**{name: one for name, one in found.items() if one is not None})


def made(server: KeyServer, path: str = OIDC) -> tuple[FakeClock, ProviderMetadata]:
    clock = FakeClock(0.0)
    return clock, ProviderMetadata(trust(None), server.url, server.url + path, clock)


def known(server: KeyServer) -> IssuerFacts:
    return IssuerFacts(
        server.url,
        server.url + OIDC,
        f"{server.url}/authorize",
        f"{server.url}/token",
        ("openid", "profile"),
        has_client_credentials=True,
    )


async def test_an_issuer_is_asked_once_an_hour_by_all_together(server: KeyServer) -> None:
    describe(server)
    clock, metadata = made(server)
    assert await all_facts([metadata.facts, metadata.facts]) == (known(server), known(server))
    endpoints, facts = await asyncio.gather(metadata(), metadata.facts())
    assert (endpoints.token, facts) == (f"{server.url}/token", known(server))
    clock.advance(3599)
    await metadata()
    assert server.paths == [OIDC]
    clock.advance(1)
    await metadata.facts()
    assert server.paths == [OIDC, OIDC]


async def test_an_issuer_that_is_down_is_named_and_asked_again_soon(server: KeyServer) -> None:
    server.answers[OIDC] = Answer(status="503 Service Unavailable")
    clock, metadata = made(server)
    assert await metadata.facts() == IssuerFacts(server.url)
    with pytest.raises(ProviderDoubt, match="503"):
        await metadata()
    assert server.paths == [OIDC]
    clock.advance(5)
    describe(server)
    assert await metadata.facts() == known(server)


@pytest.mark.parametrize(
    "later", [Answer(b"<html>"), Answer(b"[]"), Answer(b'{"issuer": "https://evil.example"}')]
)
async def test_what_was_known_last_stays_known(server: KeyServer, later: Answer) -> None:
    describe(server)
    clock, metadata = made(server)
    before = await metadata()
    server.answers[OIDC] = later
    clock.advance(3600)
    assert await metadata() == before
    assert await metadata.facts() == known(server)
    assert metadata.problem


async def test_an_issuer_that_nobody_signs_in_at_has_facts_and_no_endpoints(
    server: KeyServer,
) -> None:
    """GitHub Actions and Kubernetes are such; they are not asked again before the hour is over."""
    describe(
        server,
        authorization_endpoint=None,
        token_endpoint=None,
        scopes_supported=None,
        grant_types_supported=None,
    )
    clock, metadata = made(server)
    assert await metadata.facts() == IssuerFacts(server.url, server.url + OIDC)
    with pytest.raises(ProviderDoubt, match="is missing"):
        await metadata()
    clock.advance(60)
    await metadata.facts()
    assert server.paths == [OIDC]


@pytest.mark.parametrize("issuer", ["https://evil.example.org", 7])
async def test_metadata_of_another_issuer_is_not_used(server: KeyServer, issuer: object) -> None:
    describe(server, issuer=issuer)
    _, metadata = made(server)
    assert await metadata.facts() == IssuerFacts(server.url)
    with pytest.raises(ProviderDoubt, match="another issuer"):
        await metadata()


@pytest.mark.parametrize(
    "url", ["http://idp.example.org/token", "javascript:alert(1)", "//x", "", 7, ["x"]]
)
async def test_nobody_is_sent_to_an_endpoint_that_is_no_https_url(
    server: KeyServer, url: object
) -> None:
    describe(server, token_endpoint=url)
    _, metadata = made(server)
    assert await metadata.facts() == IssuerFacts(server.url)
    with pytest.raises(ProviderDoubt, match="token_endpoint is not an https URL"):
        await metadata()


async def test_only_openid_connects_own_metadata_is_called_so(server: KeyServer) -> None:
    describe(server, path=OAUTH)
    _, metadata = made(server, OAUTH)
    assert (await metadata.facts()).metadata_url == ""
    assert (await metadata.facts()).token_endpoint
