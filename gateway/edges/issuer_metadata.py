"""An issuer's metadata -> what an OpenAPI document tells of it: where to sign in, where to get tokens.

OpenID Connect Discovery section 3, RFC 8414 section 2. Nothing depends on it but that document, so
that an issuer that is down leaves its sign-in out, and what was known last stays known.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from gateway.edges.discovery import FetchFailed, KeyEndpoint, is_fetchable, metadata_url
from gateway.edges.one_flight import OneFlight
from gateway.openapi.own_part import IssuerFacts
from gateway.token.strict_json import JsonRefused, read_object

_AGE_SECONDS = 3600.0
_RETRY_SECONDS = 30.0
_MOST_SCOPES = 64

_log = logging.getLogger(__name__)


class Fetch(Protocol):
    """One document of an issuer."""

    async def fetch(self) -> bytes:
        """Its bytes. Raises FetchFailed."""
        ...


class IssuerMetadata:
    """One issuer, asked on demand: once an hour, after a failure every 30 s. `monotonic` is in seconds."""

    def __init__(
        self, issuer: str, url: str, endpoint: Fetch, monotonic: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._url = url
        self._endpoint = endpoint
        self._monotonic = monotonic
        self._flight: OneFlight[None, None] = OneFlight()
        self._known = IssuerFacts(issuer)
        self._ask_at = float("-inf")

    async def facts(self) -> IssuerFacts:
        """What is known now. Never raises for an issuer that does not answer."""
        if self._monotonic() >= self._ask_at:
            await self._flight.join(None, self._ask)
        return self._known

    async def _ask(self) -> None:
        wait = _AGE_SECONDS
        try:
            self._known = read_facts(await self._endpoint.fetch(), self._issuer, self._url)
        except (FetchFailed, JsonRefused) as error:
            _log.warning("an issuer's endpoints are not in the OpenAPI document: %s", error)
            wait = _RETRY_SECONDS
        self._ask_at = self._monotonic() + wait


class NoMetadata:
    """An issuer whose keys are a file or stand at a URL of their own: no metadata is asked for."""

    def __init__(self, issuer: str) -> None:
        self._facts = IssuerFacts(issuer)

    async def facts(self) -> IssuerFacts:
        """Its name."""
        return self._facts


def make_issuer_metadata(
    issuer: str,
    discovery: Literal["oidc", "rfc8414"],
    tls: ssl.SSLContext,
    monotonic: Callable[[], float],
) -> IssuerMetadata:
    """Fetched within the same bounds as keys are."""
    url = metadata_url(issuer, discovery)
    return IssuerMetadata(issuer, url, KeyEndpoint(tls, issuer, url), monotonic)


def read_facts(document: bytes, issuer: str, url: str) -> IssuerFacts:
    """Raises FetchFailed or JsonRefused for metadata that is not this issuer's."""
    metadata = read_object(document)
    if metadata.get("issuer") != issuer:
        raise FetchFailed(f"{url}: names another issuer")
    return IssuerFacts(
        issuer,
        url if "/openid-configuration" in url else "",
        _endpoint(metadata, "authorization_endpoint", issuer),
        _endpoint(metadata, "token_endpoint", issuer),
        tuple(_texts(metadata, "scopes_supported")[:_MOST_SCOPES]),
        "client_credentials" in _texts(metadata, "grant_types_supported"),
    )


def _endpoint(metadata: dict[str, Any], name: str, issuer: str) -> str:
    """Empty for what nobody should send a password or a code to."""
    url = metadata.get(name)
    return url if isinstance(url, str) and is_fetchable(url, issuer) else ""


def _texts(metadata: dict[str, Any], name: str) -> Sequence[str]:
    found = metadata.get(name)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


async def all_facts(sources: Sequence[IssuerMetadata | NoMetadata]) -> tuple[IssuerFacts, ...]:
    """All issuers at once, in their order."""
    return tuple(await asyncio.gather(*(source.facts() for source in sources)))
