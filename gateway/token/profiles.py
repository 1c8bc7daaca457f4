"""(typ, verified claims) -> the client, if this is an access token for this gateway.

One class a kind of issuer. Each says which `typ` its access tokens have, how an ID token is told
from them, and who they are for; what all kinds share stands in `identity.py`.
"""

from collections.abc import Collection
from typing import Any, Protocol

from gateway.token.claims import Claims, read_audiences, read_text, require_text
from gateway.token.machines import CLIENT_CLAIMS_OF_PROVIDERS
from gateway.token.refused import TokenRefused

_ACCESS_TOKEN_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_OIDC_TYPES = _ACCESS_TOKEN_TYPES | {"jwt", None}
_ID_TOKEN_MARKS = ("nonce", "at_hash", "c_hash")


class Profile(Protocol):
    """Judges what differs between kinds of issuers."""

    requires_subject: bool

    def check(self, typ: str | None, claims: Claims) -> str:
        """The client id, empty where the token names none. Raises TokenRefused."""
        ...


class Oidc:
    """Access tokens of an OpenID provider that follows no profile for them.

    Nothing but its claims may tell such a token from an ID token (OpenID Connect Core section 2).
    """

    requires_subject = False

    def __init__(
        self,
        audiences: Collection[str],
        login_client_ids: Collection[str] = (),
        *,
        accept_id_tokens: bool = False,
    ) -> None:
        self._audiences = frozenset(audiences)
        self._login_clients = frozenset(login_client_ids)
        self._accept_id_tokens = accept_id_tokens

    def check(self, typ: str | None, claims: Claims) -> str:
        """Types at+jwt, JWT or none; for one of our audiences; no ID token unless that is wanted."""
        _check_type(typ, _OIDC_TYPES)
        audiences = read_audiences(claims)
        if not is_id_token(claims, audiences, self._login_clients):
            _check_audience(audiences, self._audiences)
            return _read_client(claims)
        if not self._accept_id_tokens:
            raise TokenRefused("an ID token")
        accepted = self._audiences | self._login_clients
        _check_audience(audiences, accepted)
        return _read_signed_in_client(claims, audiences, accepted)


class Rfc9068:
    """Access tokens by the JWT profile of RFC 9068, section 4."""

    requires_subject = True

    def __init__(self, audiences: Collection[str], login_client_ids: Collection[str] = ()) -> None:
        self._audiences = frozenset(audiences)
        self._login_clients = frozenset(login_client_ids)

    def check(self, typ: str | None, claims: Claims) -> str:
        """Type at+jwt only; aud, client_id and jti required."""
        _check_type(typ, _ACCESS_TOKEN_TYPES)
        audiences = read_audiences(claims)
        if is_id_token(claims, audiences, self._login_clients):
            raise TokenRefused("an ID token")
        _check_audience(audiences, self._audiences)
        require_text(claims, "jti")
        return require_text(claims, "client_id")


class Cognito:
    """Tokens of an Amazon Cognito user pool, whose access tokens have no audience.

    Accepted: token_use = access and client_id one of ours, or, where ID tokens are wanted,
    token_use = id and aud one of ours. An audience on an access token (resource binding) must be
    one of `audiences`.
    """

    requires_subject = True

    def __init__(
        self,
        client_ids: Collection[str],
        audiences: Collection[str] = (),
        *,
        accept_id_tokens: bool = False,
    ) -> None:
        self._clients = frozenset(client_ids)
        self._audiences = frozenset(audiences)
        self._accept_id_tokens = accept_id_tokens

    def check(self, typ: str | None, claims: Claims) -> str:
        """By token_use, which every Cognito token has."""
        _check_type(typ, _OIDC_TYPES)
        use = require_text(claims, "token_use")
        if use == "access":
            return self._check_access(claims)
        if use == "id" and self._accept_id_tokens:
            audiences = read_audiences(claims)
            _check_audience(audiences, self._clients)
            return _read_signed_in_client(claims, audiences, self._clients)
        raise TokenRefused("an ID token" if use == "id" else "token_use is not access")

    def _check_access(self, claims: Claims) -> str:
        if any(mark in claims for mark in _ID_TOKEN_MARKS):
            raise TokenRefused("an access token with the marks of an ID token")
        client = require_text(claims, "client_id")
        if client not in self._clients:
            raise TokenRefused("client_id is not one of ours")
        if "aud" in claims:
            _check_audience(read_audiences(claims), self._audiences)
        return client


def is_id_token(
    claims: Claims, audiences: frozenset[str], login_client_ids: frozenset[str]
) -> bool:
    """Whether the claims say who signed in rather than what a client may do.

    `nonce`, `at_hash` and `c_hash` are OpenID Connect's, `token_use` is Cognito's, `typ` as a claim
    is Keycloak's. With some providers nothing but the audience differs.
    """
    return (
        any(mark in claims for mark in _ID_TOKEN_MARKS)
        or claims.get("token_use") == "id"
        or claims.get("typ") == "ID"
        or not audiences.isdisjoint(login_client_ids)
    )


def _check_type(typ: str | None, accepted: frozenset[Any]) -> None:
    """Media types are compared without case (RFC 7515 section 4.1.9)."""
    if (typ if typ is None else typ.lower()) not in accepted:
        raise TokenRefused("typ is not that of an access token")


def _check_audience(audiences: frozenset[str], accepted: frozenset[str]) -> None:
    if audiences.isdisjoint(accepted):
        raise TokenRefused("aud is missing" if not audiences else "aud is not one of ours")


def _read_client(claims: Claims) -> str:
    registered = read_text(claims, "client_id") or read_text(claims, "azp")
    if registered is not None:
        return registered
    # somebody else may mean anything by these names, so that what is no text is no mistake
    values = [claims.get(name) for name in CLIENT_CLAIMS_OF_PROVIDERS]
    return next((value for value in values if isinstance(value, str)), "")


def _read_signed_in_client(
    claims: Claims, audiences: frozenset[str], accepted: frozenset[str]
) -> str:
    """OpenID Connect Core section 3.1.3.7, rules 4 and 5."""
    client = read_text(claims, "azp")
    if client is None and len(audiences) > 1:
        raise TokenRefused("azp is missing beside several audiences")
    client = client or next(iter(audiences))
    if client not in accepted:
        raise TokenRefused("azp is not one of ours")
    return client
