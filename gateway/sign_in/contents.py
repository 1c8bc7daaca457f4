"""Claims and tokens of a session <-> its sealed part; and a session with them -> Identity."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from gateway.model import Identity
from gateway.sign_in.sealing import Sealer
from gateway.sign_in.session import Session
from gateway.sign_in.signed import ClientRules
from gateway.token.claims import Claims, read_groups, require_text
from gateway.token.identity import SUBJECT, check_required, read_acr, read_auth_time
from gateway.token.machines import names_a_machine
from gateway.token.refused import TokenRefused

_CLIENTS_OWN = frozenset({"nonce", "at_hash", "c_hash", "s_hash"})
"""Claims of one answer, not of the person."""


@dataclass(frozen=True, slots=True)
class Contents:
    """`claims` are those of the ID token, laid over userinfo's. Tokens are empty where there are none."""

    claims: Mapping[str, Any] = field(repr=False)
    id_token: str = field(default="", repr=False)
    refresh_token: str = field(default="", repr=False)


def join_claims(id_token: Claims, userinfo: Claims) -> dict[str, Any]:
    """One person's claims. What is signed goes over what is not; both must mean the same person.

    OpenID Connect Core section 5.3.2. Raises TokenRefused.
    """
    if userinfo and userinfo.get("sub") != id_token.get("sub"):
        raise TokenRefused("userinfo is about another subject")
    return {name: one for name, one in {**userinfo, **id_token}.items() if name not in _CLIENTS_OWN}


def seal_contents(contents: Contents, session: Session, sealer: Sealer) -> Session:
    """The session with them, bound to whose it is and how long it may live."""
    values = [dict(contents.claims), contents.id_token, contents.refresh_token]
    sealed = sealer.seal(json.dumps(values).encode(), _bound(session))
    return replace(session, sealed=sealed)


def open_contents(session: Session, sealer: Sealer) -> Contents:
    """Raises Unsealable."""
    return Contents(*json.loads(sealer.open(session.sealed, _bound(session))))


def _bound(session: Session) -> str:
    """What nobody can change who may write the store and has no key."""
    times = (float(session.created), float(session.ends))
    return json.dumps([session.id_hash, session.client, session.issuer, session.subject, *times])


def identity_of(
    session: Session, claims: Claims, rules: ClientRules, expires: float | None = None
) -> Identity:
    """Who this is, by the same claims that a bearer token's Identity is made from. Raises TokenRefused.

    It lives as long as the session, unless `expires` is given. Its token hash names the session, which
    tells the audit that it was one.
    """
    if rules.issuer != session.issuer:
        raise TokenRefused("its issuer is another one by now")
    own = rules.subject_claim == SUBJECT
    subject = session.subject if own else require_text(claims, rules.subject_claim)
    if names_a_machine(claims, subject, rules.client_id):
        raise TokenRefused("the subject is a client")
    identity = Identity(
        issuer=rules.issuer,
        subject=subject,
        client_id=rules.client_id,
        kind="user",
        groups=read_groups(claims, rules.groups_claim, rules.groups_separator),
        issued_at=session.created,
        expires=session.ends if expires is None else expires,
        token_hash=f"session:{session.handle}",
        acr=read_acr(claims),
        auth_time=read_auth_time(claims),
        claims=MappingProxyType(dict(claims)),
    )
    check_required(identity, rules.required_claims)
    return identity
