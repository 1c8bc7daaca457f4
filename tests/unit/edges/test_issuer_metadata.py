"""What an OpenAPI document tells of an issuer."""

import asyncio

import orjson
import pytest

from gateway.edges.discovery import FetchFailed
from gateway.edges.issuer_metadata import IssuerMetadata, NoMetadata, all_facts, read_facts
from gateway.openapi.own_part import IssuerFacts
from gateway.token.strict_json import JsonRefused
from tests.fakes import ISSUER, FakeClock

URL = f"{ISSUER}/.well-known/openid-configuration"
GOOD = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "scopes_supported": ["openid", 7, "profile"],
    "grant_types_supported": ["authorization_code", "client_credentials"],
}
KNOWN = IssuerFacts(
    ISSUER,
    URL,
    f"{ISSUER}/authorize",
    f"{ISSUER}/token",
    ("openid", "profile"),
    has_client_credentials=True,
)


class Endpoint:
    def __init__(self) -> None:
        self.fetches = 0
        self.document: bytes | None = orjson.dumps(GOOD)

    async def fetch(self) -> bytes:
        self.fetches += 1
        await asyncio.sleep(0)
        if self.document is None:
            raise FetchFailed("down")
        return self.document


def made() -> tuple[Endpoint, FakeClock, IssuerMetadata]:
    endpoint, clock = Endpoint(), FakeClock(0.0)
    return endpoint, clock, IssuerMetadata(ISSUER, URL, endpoint, clock)


async def test_an_issuer_is_asked_once_an_hour_by_all_together() -> None:
    endpoint, clock, metadata = made()
    assert await all_facts([metadata, metadata]) == (KNOWN, KNOWN)
    clock.advance(3599)
    assert await metadata.facts() == KNOWN
    assert endpoint.fetches == 1
    clock.advance(1)
    await metadata.facts()
    assert endpoint.fetches == 2


async def test_an_issuer_that_is_down_is_left_out_and_asked_again_soon() -> None:
    endpoint, clock, metadata = made()
    endpoint.document = None
    assert await metadata.facts() == IssuerFacts(ISSUER)
    assert await metadata.facts() == IssuerFacts(ISSUER)
    assert endpoint.fetches == 1
    clock.advance(30)
    endpoint.document = orjson.dumps(GOOD)
    assert await metadata.facts() == KNOWN
    clock.advance(3600)
    endpoint.document = b"<html>"
    assert await metadata.facts() == KNOWN


async def test_an_issuer_without_metadata_is_named() -> None:
    assert await NoMetadata(ISSUER).facts() == IssuerFacts(ISSUER)


@pytest.mark.parametrize("issuer", ["https://evil.example.org", None, 7])
def test_metadata_of_another_issuer_is_refused(issuer: object) -> None:
    with pytest.raises(FetchFailed):
        read_facts(orjson.dumps({**GOOD, "issuer": issuer}), ISSUER, URL)


def test_metadata_that_is_no_json_is_refused() -> None:
    with pytest.raises(JsonRefused):
        read_facts(b"[]", ISSUER, URL)


@pytest.mark.parametrize(
    "url", ["http://idp.example.org/token", "javascript:alert(1)", "//x", "", 7, None, ["x"]]
)
def test_nobody_is_sent_to_an_endpoint_that_is_no_https_url(url: object) -> None:
    facts = read_facts(orjson.dumps({**GOOD, "token_endpoint": url}), ISSUER, URL)
    assert facts.token_endpoint == ""


def test_only_openid_connects_own_metadata_is_called_so() -> None:
    url = "https://idp.example.org/.well-known/oauth-authorization-server"
    assert read_facts(orjson.dumps(GOOD), ISSUER, url).metadata_url == ""
