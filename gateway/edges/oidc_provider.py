"""Flow, code or refresh token -> what a real provider makes of it. Authlib speaks the protocol.

Each question has a client of its own, a deadline and a cap on the answer; no redirect is followed and
nothing of the environment is used.
"""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from joserfc.jwk import ECKey, RSAKey

from gateway.edges.capped_transport import CappedTransport
from gateway.edges.discovery import FetchFailed, get_document, open_client
from gateway.edges.provider_metadata import Endpoints, ProviderMetadata
from gateway.edges.secret_file import SecretFile, SecretUnusable
from gateway.model import Secret
from gateway.sign_in.flow import Flow
from gateway.sign_in.provider import ProviderDoubt, ProviderRefused, Tokens
from gateway.token.strict_json import JsonRefused, read_object

_SECONDS = 10.0
_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAXIMUM_TOKEN_CHARACTERS = 65_536


@dataclass(frozen=True, slots=True)
class Registration:
    """How the provider knows the gateway. `secret` is a secret, a private key, or None."""

    client_id: str
    redirect_uri: str
    authentication: str
    secret: SecretFile[Secret] | SecretFile[RSAKey | ECKey] | None
    key_id: str
    scopes: tuple[str, ...]
    resource: str
    asks_userinfo: bool


class OidcProvider:
    """One issuer, asked as one client."""

    def __init__(
        self, tls: ssl.SSLContext, endpoints: ProviderMetadata, registration: Registration
    ) -> None:
        self._tls = tls
        self._endpoints = endpoints
        self._registration = registration

    async def endpoints(self) -> Endpoints:
        """Raises ProviderDoubt."""
        return await self._endpoints()

    async def try_out(self) -> Endpoints:
        """Its endpoints, once the gateway's own credential could be read too. Raises ProviderDoubt."""
        await self._secret()
        return await self._endpoints()

    async def authorization_url(self, flow: Flow) -> str:
        """See Provider. PKCE with S256 always (RFC 9700 section 2.1.1)."""
        endpoint = (await self._endpoints()).authorization
        extra = {"nonce": flow.nonce, "scope": " ".join(self._registration.scopes)}
        if flow.acr_values:
            extra["acr_values"] = " ".join(flow.acr_values)
        if flow.maximum_age_seconds is not None:
            extra["max_age"] = str(int(flow.maximum_age_seconds))
        if self._registration.resource:
            extra["resource"] = self._registration.resource
        async with self._client() as client:
            url, _ = client.create_authorization_url(
                endpoint, state=flow.state, code_verifier=flow.verifier, **extra
            )
        return str(url)

    async def names_itself(self) -> bool:
        """See Provider."""
        return (await self._endpoints()).names_itself

    async def redeem(self, code: str, verifier: str) -> Tokens:
        """See Provider."""
        extra = {"resource": self._registration.resource} if self._registration.resource else {}
        return await self._ask_tokens(
            grant_type="authorization_code",
            code=code,
            code_verifier=verifier,
            redirect_uri=self._registration.redirect_uri,
            **extra,
        )

    async def refresh(self, refresh_token: str) -> Tokens:
        """See Provider. No scope is named: more than was granted would be refused (RFC 6749 section 6)."""
        tokens = await self._ask_tokens(grant_type="refresh_token", refresh_token=refresh_token)
        if tokens.refresh_token:
            return tokens
        return Tokens(tokens.access_token, tokens.id_token, refresh_token)

    async def userinfo(self, access_token: str) -> Mapping[str, Any]:
        """See Provider. Signed or encrypted answers are not asked for and not read."""
        url = (await self._endpoints()).userinfo
        if not self._registration.asks_userinfo or not url:
            return {}
        try:
            async with asyncio.timeout(_SECONDS), open_client(self._tls) as client:
                client.headers["Authorization"] = f"Bearer {access_token}"
                return read_object(await get_document(client, url))
        except (FetchFailed, JsonRefused) as error:
            raise ProviderDoubt(f"userinfo: {error}") from None
        except TimeoutError:
            raise ProviderDoubt("userinfo: no answer in time") from None

    async def _ask_tokens(self, **form: str) -> Tokens:
        endpoint = (await self._endpoints()).token
        try:
            async with asyncio.timeout(_SECONDS), self._client(await self._secret()) as client:
                answer = await client.fetch_token(endpoint, **form)
        except OAuthError as error:
            raise ProviderRefused(_shown(error.error)) from None
        except TimeoutError:
            raise ProviderDoubt("the token endpoint gave no answer in time") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise ProviderDoubt(f"the token endpoint: {type(error).__name__}") from None
        return _read_tokens(answer)

    async def _secret(self) -> str | RSAKey | ECKey | None:
        if self._registration.secret is None:
            return None
        try:
            found = await self._registration.secret()
        except SecretUnusable as unusable:
            raise ProviderDoubt(str(unusable)) from None
        return found.reveal if isinstance(found, Secret) else found

    @asynccontextmanager
    async def _client(
        self, secret: str | RSAKey | ECKey | None = None
    ) -> AsyncIterator[AsyncOAuth2Client]:
        registration = self._registration
        client = AsyncOAuth2Client(
            registration.client_id,
            secret,
            token_endpoint_auth_method=registration.authentication,
            redirect_uri=registration.redirect_uri,
            code_challenge_method="S256",
            transport=CappedTransport(self._tls),
            trust_env=False,
            follow_redirects=False,
            timeout=None,  # one deadline for all, in _ask_tokens
        )
        client.register_client_auth_method(("client_secret_basic", _basic))
        if isinstance(secret, RSAKey | ECKey):
            headers = {"kid": registration.key_id} if registration.key_id else None
            algorithm = "RS256" if isinstance(secret, RSAKey) else _EC_ALGORITHMS[secret.curve_name]
            client.register_client_auth_method(PrivateKeyJWT(headers=headers, alg=algorithm))
        async with client:
            yield client


_EC_ALGORITHMS = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


def _basic(client: Any, _method: str, uri: str, headers: Any, body: Any) -> tuple[str, Any, Any]:
    """RFC 6749 section 2.3.1 has both parts form-encoded first, which Authlib leaves out."""
    pair = httpx2.BasicAuth(quote_plus(client.client_id), quote_plus(client.client_secret))
    request = httpx2.Request("POST", uri)
    headers["Authorization"] = next(pair.auth_flow(request)).headers["Authorization"]
    return uri, headers, body


def _read_tokens(answer: Mapping[str, Any]) -> Tokens:
    texts = {}
    for name in ("access_token", "id_token", "refresh_token"):
        value = answer.get(name) or ""
        if not isinstance(value, str) or len(value) > _MAXIMUM_TOKEN_CHARACTERS:
            raise ProviderDoubt(f"the token endpoint: {name} is no text, or too long")
        texts[name] = value
    if not texts["access_token"] or str(answer.get("token_type", "")).lower() != "bearer":
        raise ProviderDoubt("the token endpoint: no bearer token")
    return Tokens(**texts)


def _shown(code: object) -> str:
    return code if isinstance(code, str) and _CODE.fullmatch(code) else "unreadable_error"
