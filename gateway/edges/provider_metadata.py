"""An issuer -> where its sign-in endpoints are, asked once an hour (OpenID Connect Discovery section 3)."""

import asyncio
import ssl
import time
from collections.abc import Callable
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
from gateway.sign_in.provider import ProviderDoubt
from gateway.token.strict_json import JsonRefused, read_object

_AGE_SECONDS = 3600.0
_RETRY_SECONDS = 5.0


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
    """Old endpoints serve while the provider is down; `monotonic` is in seconds."""

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
        self._ask_at = float("-inf")
        self.problem = ""

    async def __call__(self) -> Endpoints:
        """Raises ProviderDoubt where they were never known."""
        if self._monotonic() >= self._ask_at:
            await self._flight.join(None, self._ask)
        if self._known is None:
            raise ProviderDoubt(self.problem)
        return self._known

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS), open_client(self._tls) as client:
                self._known = self._read(await get_document(client, self._url))
            self.problem, wait = "", _AGE_SECONDS
        except (FetchFailed, JsonRefused, TimeoutError) as error:
            self.problem = f"{self._url}: {error or 'no answer in time'}"
            wait = _RETRY_SECONDS
        self._ask_at = self._monotonic() + wait

    def _read(self, document: bytes) -> Endpoints:
        metadata = read_object(document)
        if metadata.get("issuer") != self._issuer:
            raise FetchFailed("names another issuer")
        return Endpoints(
            self._url_in(metadata, "authorization_endpoint", is_needed=True),
            self._url_in(metadata, "token_endpoint", is_needed=True),
            self._url_in(metadata, "userinfo_endpoint"),
            self._url_in(metadata, "end_session_endpoint"),
            metadata.get("authorization_response_iss_parameter_supported") is True,
            _texts(metadata.get("acr_values_supported")),
        )

    def _url_in(self, metadata: dict[str, Any], name: str, *, is_needed: bool = False) -> str:
        url = metadata.get(name)
        if isinstance(url, str) and is_fetchable(url, self._issuer):
            return url
        if url is not None or is_needed:
            raise FetchFailed(f"{name} is not an https URL")
        return ""


def _texts(value: object) -> frozenset[str] | None:
    if not isinstance(value, list):
        return None
    return frozenset(one for one in value if isinstance(one, str))
