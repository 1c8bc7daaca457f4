"""A provider's logout token -> whose sessions end (OpenID Connect Back-Channel Logout 1.0, sections 2.4 and 2.6)."""

from typing import NamedTuple

from gateway.sign_in.session import hash_of
from gateway.sign_in.signed import ClientRules, VerificationKeys, verified
from gateway.token.claims import Claims, read_audiences, read_text, require_text, require_time
from gateway.token.refused import TokenExpired, TokenRefused

EVENT = "http://schemas.openid.net/event/backchannel-logout"
_TYPES = frozenset({"logout+jwt", "application/logout+jwt", "jwt", None})
"""Types other than logout+jwt are for providers older than the final specification."""
_LONGEST_SECONDS = 600.0
"""A logout token is sent at once; one that lives longer could be kept and used again."""


class Leaving(NamedTuple):
    """Either of the last two may be empty: a subject's sessions, one of the provider's, or where both agree.

    `key` stands for the token, which is good once, until it `expires`.
    """

    key: str
    expires: float
    issuer: str
    subject: str
    sid: str


async def read_logout(text: str, rules: ClientRules, keys: VerificationKeys, now: float) -> Leaving:
    """Whether it was used before is for the store to say. Raises TokenRefused, Denied(KEYS_UNAVAILABLE)."""
    token, claims = await verified(text, rules, keys)
    if (token.typ.lower() if token.typ else None) not in _TYPES:
        raise TokenRefused("typ is not that of a logout token")
    if rules.client_id not in read_audiences(claims):
        raise TokenRefused("aud is not this client")
    if "nonce" in claims:
        raise TokenRefused("a nonce: an ID token is no logout token")
    _check_event(claims)
    ends = _check_times(claims, rules.leeway_seconds, now)
    subject, sid = read_text(claims, "sub") or "", read_text(claims, "sid") or ""
    if not subject and not sid:
        raise TokenRefused("neither sub nor sid")
    number = require_text(claims, "jti")
    key = f"logout {hash_of(f'{rules.issuer} {number}')}"
    return Leaving(key, ends, rules.issuer, subject, sid)


def _check_event(claims: Claims) -> None:
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise TokenRefused("events has no logout")


def _check_times(claims: Claims, leeway: float, now: float) -> float:
    """Until when it has to be remembered."""
    issued, expires = require_time(claims, "iat"), require_time(claims, "exp")
    if now >= expires + leeway:
        raise TokenExpired("expired")
    if issued > now + leeway:
        raise TokenRefused("iat lies in the future")
    if expires - issued > _LONGEST_SECONDS:
        raise TokenRefused("lives too long for a logout token")
    return expires + leeway
