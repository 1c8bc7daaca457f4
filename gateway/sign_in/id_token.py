"""(ID token, what was asked for) -> its claims, or TokenRefused: OpenID Connect Core section 3.1.3.7."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from gateway.sign_in.signed import ClientRules, VerificationKeys, verified
from gateway.token.claims import Claims, read_audiences, read_text, require_text, require_time
from gateway.token.claims import read_time as _read_time
from gateway.token.refused import TokenExpired, TokenRefused
from gateway.users.assurance import FUTURE_SECONDS

_TYPES = frozenset({"jwt", None})
_HASHES = {"256": "sha256", "384": "sha384", "512": "sha512", "DSA": "sha512"}
"""By the last letters of the algorithm; EdDSA with Ed25519 hashes with SHA-512."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the token has to answer to. `nonce` is None after a refresh, which has none of its own."""

    nonce: str | None
    access_token: str
    maximum_age_seconds: float | None = None
    acr_values: tuple[str, ...] = ()
    subject: str | None = None


async def verify_id_token(
    text: str, rules: ClientRules, keys: VerificationKeys, expected: Expected, now: float
) -> dict[str, Any]:
    """Raises TokenRefused, or Denied(KEYS_UNAVAILABLE)."""
    token, claims = await verified(text, rules, keys)
    if (token.typ.lower() if token.typ else None) not in _TYPES:
        raise TokenRefused("typ is not that of an ID token")
    if "events" in claims or claims.get("token_use", "id") != "id":
        raise TokenRefused("not an ID token")
    _check_audience(claims, rules.client_id)
    _check_times(claims, rules.leeway_seconds, now)
    _check_nonce(claims, expected.nonce)
    _check_access_token(claims, token.algorithm, expected.access_token)
    subject = require_text(claims, "sub")
    if expected.subject is not None and subject != expected.subject:
        raise TokenRefused("sub is not the one that signed in")
    check_strength(claims, expected, now)
    return claims


def _check_audience(claims: Claims, client_id: str) -> None:
    """Rules 3 to 5."""
    audiences = read_audiences(claims)
    if client_id not in audiences:
        raise TokenRefused("aud is not this client")
    party = read_text(claims, "azp")
    if (party is None and len(audiences) > 1) or party not in (None, client_id):
        raise TokenRefused("azp is not this client")


def _check_times(claims: Claims, leeway: float, now: float) -> None:
    """Rules 9 and 10."""
    if now >= require_time(claims, "exp") + leeway:
        raise TokenExpired("expired")
    for name in ("iat", "nbf"):
        value = _read_time(claims, name)
        if value is not None and value > now + leeway:
            raise TokenRefused(f"{name} lies in the future")
    require_time(claims, "iat")


def _check_nonce(claims: Claims, nonce: str | None) -> None:
    """Rule 11. Always sent, so it must always come back."""
    if nonce is None:
        return
    if not hmac.compare_digest(require_text(claims, "nonce").encode(), nonce.encode()):
        raise TokenRefused("nonce is not the one that was sent")


def _check_access_token(claims: Claims, algorithm: str, access_token: str) -> None:
    """Section 3.1.3.8: where there is an at_hash, it must be right."""
    if "at_hash" not in claims:
        return
    digest = hashlib.new(_HASHES[algorithm[-3:]], access_token.encode()).digest()
    half = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not hmac.compare_digest(require_text(claims, "at_hash").encode(), half):
        raise TokenRefused("at_hash is not that of the access token")


def check_strength(claims: Claims, expected: Expected, now: float) -> None:
    """Rules 12 and 13: what was asked for is checked, because a provider may ignore it.

    By the same limits as the operation that asks (`users.assurance`): a sign-in that were enough here and
    not there would begin again without end.
    """
    if expected.acr_values and claims.get("acr") not in expected.acr_values:
        raise TokenRefused("acr is none of those that were asked for")
    if expected.maximum_age_seconds is not None:
        at = require_time(claims, "auth_time")
        if not -FUTURE_SECONDS <= now - at <= expected.maximum_age_seconds:
            raise TokenRefused("auth_time is not as recent as was asked for")
