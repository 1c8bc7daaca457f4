"""The text of a token that a provider sent to its client -> its claims, once the signature is good."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.token.conditions import Condition
from gateway.token.form import UnverifiedToken, read_token
from gateway.token.identity import SUBJECT
from gateway.token.keys import VerificationKey, only_key
from gateway.token.refused import TokenRefused

MAXIMUM_TOKEN_BYTES = 65_536


class VerificationKeys(Protocol):
    """One issuer's keys, as fresh as they have to be."""

    async def keys_for(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys with this kid, or all. Raises Denied(KEYS_UNAVAILABLE)."""
        ...


@dataclass(frozen=True, slots=True)
class ClientRules:
    """What holds for tokens that one issuer makes for the gateway as its client."""

    issuer: str
    client_id: str
    algorithms: frozenset[str]
    leeway_seconds: float
    groups_claim: str | None = None
    groups_separator: str | None = None
    subject_claim: str = SUBJECT
    required_claims: Mapping[str, Condition] = field(default_factory=dict)


async def verified(
    text: str, rules: ClientRules, keys: VerificationKeys
) -> tuple[UnverifiedToken, dict[str, Any]]:
    """The token's parts and claims, whose signature is the issuer's. Raises TokenRefused or Denied."""
    token = read_token(text, MAXIMUM_TOKEN_BYTES)
    if token.algorithm not in rules.algorithms:
        raise TokenRefused("alg is not one of the issuer's")
    key = only_key(await keys.keys_for(token.kid), token)
    if not key.verifies(token.algorithm, token.signing_input, token.signature):
        raise TokenRefused("the signature is wrong")
    claims = token.unverified_claims  # verified from here on
    if claims.get("iss") != rules.issuer:
        raise TokenRefused("iss is not the issuer that was asked")
    return token, claims
