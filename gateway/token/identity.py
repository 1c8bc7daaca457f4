"""(token whose signature is good, rules of its issuer, now) -> Identity, or TokenRefused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from gateway.model import Identity
from gateway.token.claims import (
    Claims,
    read_groups,
    read_text,
    read_time,
    require_text,
    require_time,
)
from gateway.token.conditions import Condition, meets
from gateway.token.machines import names_a_machine
from gateway.token.profiles import Profile
from gateway.token.refused import NotAdmitted, TokenExpired, TokenRefused

_OTHER_KINDS = frozenset({"refresh", "offline", "logout"})
"""Values of Keycloak's claim `typ` on tokens that are neither access nor ID tokens."""


SUBJECT = "sub"


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What one issuer's tokens must be like. `groups_separator` splits a group claim that is a string.

    `subject_claim` names the person where `sub` does not do so alike at every client of the issuer.
    """

    issuer: str
    profile: Profile
    algorithms: frozenset[str]
    leeway_seconds: float
    maximum_lifetime_seconds: float
    groups_claim: str | None = None
    groups_separator: str | None = None
    subject_claim: str = SUBJECT
    required_claims: Mapping[str, Condition] = field(default_factory=dict)


def read_identity(
    typ: str | None, claims: Claims, rules: TokenRules, now: float, token_hash: str
) -> Identity:
    """Judge verified claims. Raises TokenRefused."""
    _check_kind(claims)
    issued_at, expires = _read_times(claims, rules, now)
    client = rules.profile.check(typ, claims)
    subject = _read_subject(claims, client, rules)
    identity = Identity(
        issuer=rules.issuer,
        subject=subject,
        client_id=client,
        kind="machine" if names_a_machine(claims, subject, client) else "user",
        groups=read_groups(claims, rules.groups_claim, rules.groups_separator),
        issued_at=issued_at,
        expires=expires,
        token_hash=token_hash,
        token_id=read_text(claims, "jti") or "",
        acr=read_acr(claims),
        auth_time=read_auth_time(claims),
        claims=MappingProxyType(dict(claims)),
    )
    check_required(identity, rules.required_claims)
    return identity


def check_required(identity: Identity, required: Mapping[str, Condition]) -> None:
    """Raises NotAdmitted. The same for tokens and sessions."""
    missing = [name for name, wanted in required.items() if not meets(identity, {name: wanted})]
    if missing:
        names = ", ".join(missing)  # ours, out of the configuration
        raise NotAdmitted(f"the claims are not what required_claims asks for: {names}")


def _check_kind(claims: Claims) -> None:
    """Signed by the issuer, but not for use as a bearer token, whatever the profile."""
    if "cnf" in claims:
        raise TokenRefused("bound to a key (cnf), whose possession is not checked")
    if "events" in claims:
        raise TokenRefused("a security event or logout token")
    kind = claims.get("typ")
    if isinstance(kind, str) and kind.lower() in _OTHER_KINDS:
        raise TokenRefused("a refresh or logout token")


def _read_times(claims: Claims, rules: TokenRules, now: float) -> tuple[float, float]:
    """(iat, exp), both required, and with nbf consistent with each other and the clock."""
    issued_at, expires = require_time(claims, "iat"), require_time(claims, "exp")
    if now >= expires + rules.leeway_seconds:
        raise TokenExpired("expired")
    latest = now + rules.leeway_seconds
    if issued_at > latest:
        raise TokenRefused("iat lies in the future")
    not_before = read_time(claims, "nbf")
    if not_before is not None and not_before > latest:
        raise TokenRefused("nbf lies in the future")
    if not 0 < expires - issued_at <= rules.maximum_lifetime_seconds:
        raise TokenRefused("exp minus iat is not within maximum_lifetime_seconds")
    return issued_at, expires


def _read_subject(claims: Claims, client: str, rules: TokenRules) -> str:
    """Whose it is; empty for a machine token without `sub` (some providers write null), which names its client."""
    if rules.subject_claim != SUBJECT:
        return require_text(claims, rules.subject_claim)
    if rules.profile.requires_subject or claims.get(SUBJECT) is not None:
        return require_text(claims, SUBJECT)
    if not client:
        raise TokenRefused("neither sub nor a client id")
    return ""


def read_acr(claims: Claims) -> str:
    """Empty where it is no text."""
    value = claims.get("acr")
    return value if isinstance(value, str) else ""


def read_auth_time(claims: Claims) -> float | None:
    """None where it is no time."""
    try:
        return read_time(claims, "auth_time")
    except TokenRefused:
        return None
