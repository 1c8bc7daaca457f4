"""An issuer -> what its metadata says, asked once an hour: where to sign in, and what may be told of it.

OpenID Connect Discovery section 3, RFC 8414 section 2. An issuer that nobody signs in at (a CI system, a
cluster) has metadata too, without the endpoints for that.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.edges.discovery import (
    TIMEOUT_SECONDS,
    FetchFailed,
    get_document,
    is_fetchable,
    open_client,
)
from gateway.edges.one_flight import OneFlight
from gateway.openapi.own_part import IssuerFacts
from gateway.sign_in.provider import ProviderDoubt
from gateway.token.strict_json import JsonRefused, read_object

_AGE_SECONDS = 3600.0
_RETRY_SECONDS = 5.0
_MOST_SCOPES = 64

_log = logging.getLogger(__name__)


def _strings(metadata: dict[str, Any], name: str) -> Sequence[str]:
    found = metadata.get(name)
    return [text for text in found if isinstance(text, str)] if isinstance(found, list) else []


@dataclass(frozen=True, slots=True)
class Endpoints:
    """URLs, empty where the provider has none. `names_itself`: answers carry `iss` (RFC 9207).

    `acr_values` are those that it says it knows, None where it says nothing of them.
    """

    authorization: str
    token: str
    userinfo: str
    end_session: str
    names_itself: bool
    acr_values: frozenset[str] | None = None


class ProviderMetadata:
    """What was known last stays known while the provider is down; `monotonic` is in seconds."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        issuer: str,
        url: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tls = tls
        self._issuer = issuer
        self._url = url
        self._monotonic = monotonic
        self._flight: OneFlight[None, None] = OneFlight()
        self._known: Endpoints | None = None
        self._facts = IssuerFacts(issuer)
        self._ask_at = float("-inf")
        self.problem = ""

    async def __call__(self) -> Endpoints:
        """Raises ProviderDoubt where they were never known, or nobody can sign in there."""
        await self._look()
        if self._known is None:
            raise ProviderDoubt(self.problem)
        if not self._known.authorization or not self._known.token:
            raise ProviderDoubt(f"{self._url}: authorization_endpoint or token_endpoint is missing")
        return self._known

    async def facts(self) -> IssuerFacts:
        """What may be told of it. Never raises for an issuer that does not answer."""
        await self._look()
        return self._facts

    async def _look(self) -> None:
        if self._monotonic() >= self._ask_at:
            await self._flight.join(None, self._ask)

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), open_client(self._tls) as client:
                metadata = read_object(await get_document(client, self._url))
            self._known = self._read(metadata)
            self._facts = self._tell(metadata, self._known)
            self.problem, wait = "", _AGE_SECONDS
        except (FetchFailed, JsonRefused, TimeoutError) as error:
            problem = f"{self._url}: {error or 'no answer in time'}"
            if problem != self.problem:
                _log.warning("the metadata of an issuer cannot be used: %s", problem)
            self.problem, wait = problem, _RETRY_SECONDS
        self._ask_at = self._monotonic() + wait

    def _tell(self, metadata: dict[str, Any], known: Endpoints) -> IssuerFacts:
        return IssuerFacts(
            self._issuer,
            self._url if "/openid-configuration" in self._url else "",
            known.authorization,
            known.token,
            tuple(_strings(metadata, "scopes_supported")[:_MOST_SCOPES]),
            "client_credentials" in _strings(metadata, "grant_types_supported"),
        )

    def _read(self, metadata: dict[str, Any]) -> Endpoints:
        if metadata.get("issuer") != self._issuer:
            raise FetchFailed("names another issuer")
        return Endpoints(
            self._url_in(metadata, "authorization_endpoint"),
            self._url_in(metadata, "token_endpoint"),
            self._url_in(metadata, "userinfo_endpoint"),
            self._url_in(metadata, "end_session_endpoint"),
            metadata.get("authorization_response_iss_parameter_supported") is True,
            _texts(metadata.get("acr_values_supported")),
        )

    def _url_in(self, metadata: dict[str, Any], name: str) -> str:
        url = metadata.get(name)
        if isinstance(url, str) and is_fetchable(url, self._issuer):
            return url
        if url is not None:
            raise FetchFailed(f"{name} is not an https URL")
        return ""


def _texts(value: object) -> frozenset[str] | None:
    if not isinstance(value, list):
        return None
    return frozenset(one for one in value if isinstance(one, str))
