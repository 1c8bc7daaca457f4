"""A grant -> tokens, as the identity provider answers it. Authlib speaks the protocol; it is loaded only here."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx2
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client

from gateway.client.asking import DIRECT, reaching, read_answer, trusted
from gateway.client.metadata import Endpoints
from gateway.client.token_store import Tokens
from gateway.client.trouble import Exit, Trouble, printable

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_SECONDS = 30.0
_SLOW_DOWN_SECONDS = 5.0
_MINIMUM_INTERVAL_SECONDS = 1.0
_MAXIMUM_INTERVAL_SECONDS = 60.0
_MAXIMUM_LIFETIME_SECONDS = 3600.0
_VERIFIER_CHARACTERS = 64
_UNREADABLE = (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What Authlib raises where JSON is no token: a list, a time without end, levels without end."""


@dataclass(frozen=True, slots=True)
class Client:
    """As whom the provider is asked. A secret makes it a confidential client."""

    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    endpoints: Endpoints
    ca_file: Path | None = None
    secret: str = ""

    def __repr__(self) -> str:
        return f"<client {self.client_id} of {self.issuer}>"


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the provider wants to be told to a person (RFC 8628 section 3.2)."""

    device_code: str
    user_code: str
    verification_url: str
    complete_url: str
    lifetime_seconds: float
    interval_seconds: float


def start_device(client: Client) -> DeviceCode:
    """Ask for a code. Raises Trouble."""
    form = {"client_id": client.client_id, "scope": " ".join(client.scopes)}
    with _open(client) as session, _provider(client):
        response = session.request(
            "POST", client.endpoints.device, data=form, withhold_token=True, auth=None
        )
    content = _object(response)
    if "error" in content:
        raise _refused(client, content.get("error"), content.get("error_description"))
    answer = read_answer(response, client.issuer).content
    try:
        return DeviceCode(
            str(answer["device_code"]),
            printable(answer["user_code"]),
            printable(answer["verification_uri"]),
            printable(answer.get("verification_uri_complete", "")),
            float(answer["expires_in"]),
            float(answer.get("interval", _SLOW_DOWN_SECONDS)),
        )
    except (KeyError, TypeError, ValueError):
        raise Trouble(
            Exit.UNREADABLE_ANSWER, f"{client.issuer} gave a device code that cannot be read."
        ) from None


def await_device(
    client: Client,
    code: DeviceCode,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> Tokens:
    """Ask until somebody has signed in with the code, as often as the provider permits. Raises Trouble."""
    wanted = min(code.interval_seconds, _MAXIMUM_INTERVAL_SECONDS)
    interval = max(_MINIMUM_INTERVAL_SECONDS, wanted)
    deadline = now() + min(code.lifetime_seconds, _MAXIMUM_LIFETIME_SECONDS)
    while now() < deadline:
        sleep(interval)
        try:
            return _fetch(client, grant_type=DEVICE_GRANT, device_code=code.device_code)
        except Trouble as trouble:
            if trouble.problem == "slow_down" or trouble.code is Exit.UNAVAILABLE:
                interval += _SLOW_DOWN_SECONDS
            elif trouble.problem != "authorization_pending":
                raise
    raise Trouble(
        Exit.NOT_PERMITTED,
        "Nobody signed in with the code while it lasted.",
        "run the same command again",
    )


@dataclass(frozen=True, slots=True)
class Flow:
    """One sign-in by a browser: where to send it, and what its answer has to match."""

    url: str
    state: str
    verifier: str
    redirect_uri: str

    def __repr__(self) -> str:
        return f"<sign-in to {self.redirect_uri}>"


def start_browser(client: Client, redirect_uri: str) -> Flow:
    """An authorization request with PKCE (RFC 7636, S256) and a redirect to loopback (RFC 8252)."""
    verifier, state = generate_token(_VERIFIER_CHARACTERS), generate_token(_VERIFIER_CHARACTERS)
    with _open(client) as session:
        url, _ = session.create_authorization_url(
            client.endpoints.authorization,
            state=state,
            code_verifier=verifier,
            redirect_uri=redirect_uri,
        )
    return Flow(str(url), state, verifier, redirect_uri)


def redeem(client: Client, flow: Flow, code: str) -> Tokens:
    """Tokens for the code that the browser brought. Raises Trouble."""
    return _fetch(
        client,
        grant_type="authorization_code",
        code=code,
        code_verifier=flow.verifier,
        redirect_uri=flow.redirect_uri,
    )


def client_credentials(client: Client) -> Tokens:
    """Tokens for the client itself (RFC 6749 section 4.4). Raises Trouble."""
    scope = {"scope": " ".join(client.scopes)} if client.scopes else {}
    return _fetch(client, grant_type="client_credentials", **scope)


def refresh(client: Client, refresh_token: str) -> Tokens:
    """New tokens; the refresh token is the old one where the provider did not replace it. Raises Trouble.

    No scope is asked for, which means those that were granted (RFC 6749 section 6): perhaps not all that were wanted.
    """
    tokens = _fetch(
        replace(client, scopes=()), grant_type="refresh_token", refresh_token=refresh_token
    )
    return Tokens(tokens.access_token, tokens.refresh_token or refresh_token, tokens.expires_at)


def revoke(client: Client, tokens: Tokens) -> None:
    """Tell the provider that the refresh token is not needed any more (RFC 7009). Raises Trouble."""
    with _open(client) as session, _provider(client):
        session.revoke_token(
            client.endpoints.revocation,
            token=tokens.refresh_token,
            token_type_hint="refresh_token",  # noqa: S106 (a kind, no secret)
        )


def _fetch(client: Client, **form: str) -> Tokens:
    asked_at = time.time()
    with _open(client) as session, _provider(client):
        try:
            answer = session.fetch_token(client.endpoints.token, **form)
        except OAuthError as error:
            raise _refused(client, error.error, error.description) from None
        except _UNREADABLE:
            raise Trouble(
                Exit.UNREADABLE_ANSWER, f"{client.issuer} gave no answer that can be read."
            ) from None
    return _read_tokens(client, answer, asked_at)


def _read_tokens(client: Client, answer: Mapping[str, Any], asked_at: float) -> Tokens:
    access = answer.get("access_token")
    if not isinstance(access, str) or str(answer.get("token_type", "")).lower() != "bearer":
        raise Trouble(Exit.UNREADABLE_ANSWER, f"{client.issuer} gave no bearer token.")
    lifetime = answer.get("expires_in")
    ends = asked_at + float(lifetime) if isinstance(lifetime, int | float) else 0.0
    return Tokens(access, str(answer.get("refresh_token") or ""), ends)


def _open(client: Client) -> OAuth2Client:
    session = OAuth2Client(
        client.client_id,
        client.secret or None,
        token_endpoint_auth_method="client_secret_basic" if client.secret else "none",
        scope=" ".join(client.scopes),
        code_challenge_method="S256",
        verify=trusted(client.ca_file),
        follow_redirects=False,
        mounts=DIRECT,
        timeout=_SECONDS,
    )
    session.register_client_auth_method(("client_secret_basic", _basic))
    return session


def _basic(client: Any, _method: str, uri: str, headers: Any, body: Any) -> tuple[str, Any, Any]:
    """RFC 6749 section 2.3.1 has both parts form-encoded first, which Authlib leaves out."""
    pair = httpx2.BasicAuth(quote_plus(client.client_id), quote_plus(client.client_secret))
    request = httpx2.Request("POST", uri)
    headers["Authorization"] = next(pair.auth_flow(request)).headers["Authorization"]
    return uri, headers, body


def _provider(client: Client) -> Any:
    return reaching(f"The identity provider {client.issuer}")


def _object(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


_SENTENCES = {
    "access_denied": "The sign-in was declined.",
    "expired_token": "Nobody signed in with the code while it lasted.",
    "invalid_grant": "Your sign-in is over.",
}


def _refused(client: Client, error: object, description: object) -> Trouble:
    code = printable(error, 64)
    told = f"{client.issuer} says {code}"
    told += f": {printable(description)}" if description else ""
    sentence = _SENTENCES.get(code)
    return Trouble(
        Exit.NOT_PERMITTED,
        f"{sentence} ({told})" if sentence else f"{told}.",
        "sign in with: slurm-gateway login",
        problem=code,
    )
