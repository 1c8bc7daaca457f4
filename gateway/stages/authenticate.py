"""InboundRequest -> Identity, or 401: who the identity provider says this is.

The order is that of RFC 8725: size and form, the issuer's own algorithms and keys, the signature,
and only then the claims. A token that has passed is remembered by its SHA-256 until it ends, its
key leaves the issuer's key set, or the deny list names it; a reload makes a new stage, which
remembers nothing. Every way a token can be bad gives one and the same answer; the cause is noted
for the audit.
"""

import hmac
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from gateway.denial import Denied, Reason
from gateway.model import Clock, Identity, InboundRequest
from gateway.token.challenge import bearer_challenge
from gateway.token.form import UnverifiedToken, read_token
from gateway.token.identity import TokenRules, read_identity
from gateway.token.keys import VerificationKey
from gateway.token.refused import TokenRefused

_TOKEN_HASH_BYTES = 16


class KeySource(Protocol):
    """One issuer's keys, as fresh as they have to be."""

    async def keys_for(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys with this kid, or all; none where the issuer has none.

        Raises Denied(KEYS_UNAVAILABLE) where that cannot be told.
        """
        ...

    def holds(self, fingerprint: str) -> bool:
        """Whether a key that keys_for gave out may still be used. Costs nothing and never waits."""
        ...


class DenyList(Protocol):
    """Identities that are refused although their tokens are good."""

    def find(self, identity: Identity) -> str | None:
        """The kind of the entry that names this identity. Costs next to nothing."""
        ...


class FailureBudget(Protocol):
    """How many failed authentications a client address may have."""

    async def check(self, address: str) -> None:
        """Raise Denied(AUTHENTICATION_THROTTLED) where they are used up."""
        ...

    async def count(self, address: str) -> None:
        """Count one."""
        ...


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer, the rules for its tokens, and its keys."""

    rules: TokenRules
    keys: KeySource


class _Verified(NamedTuple):
    ends: float
    keys: KeySource
    fingerprint: str
    identity: Identity


class Authenticate:
    """Verifies bearer tokens. `resource_metadata` is the URL of the document of RFC 9728."""

    def __init__(
        self,
        issuers: Iterable[TrustedIssuer],
        deny_list: DenyList,
        failures: FailureBudget,
        now: Clock,
        *,
        resource_metadata: str,
        maximum_token_bytes: int,
        cached_tokens: int,
        hash_key: bytes,
    ) -> None:
        self._issuers = {issuer.rules.issuer: issuer for issuer in issuers}
        self._deny_list = deny_list
        self._failures = failures
        self._now = now
        self._maximum_token_bytes = maximum_token_bytes
        self._cached_tokens = cached_tokens
        self._hash_key = hash_key
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()
        self._missing = _challenge_header(bearer_challenge(resource_metadata))
        self._invalid = _challenge_header(
            bearer_challenge(resource_metadata, "invalid_token", Reason.TOKEN_INVALID.sentence)
        )

    async def __call__(self, request: InboundRequest) -> Identity:
        """Raise Denied with 401, 429 (too many failures) or 503 (no keys) where there is no identity."""
        if request.bearer is None:
            raise Denied(Reason.TOKEN_MISSING, headers=self._missing)
        digest = request.bearer.digest()
        identity = self._recall(digest)
        if identity is not None:
            return identity
        await self._failures.check(request.client_address)
        try:
            verified = await self._verify(request.bearer.reveal)
        except TokenRefused as refused:
            await self._failures.count(request.client_address)
            raise Denied(Reason.TOKEN_INVALID, refused.cause, headers=self._invalid) from None
        self._remember(digest, verified)
        return verified.identity

    def hash_token(self, bearer: str) -> str:
        """The token's keyed hash, by which the audit names it: HMAC-SHA256, 128 bits, hexadecimal."""
        digest = hmac.digest(self._hash_key, bearer.encode("utf-8", "surrogatepass"), "sha256")
        return digest[:_TOKEN_HASH_BYTES].hex()

    def _recall(self, digest: bytes) -> Identity | None:
        """The identity of a token that was verified before and would be again."""
        known = self._verified.get(digest)
        if known is None:
            return None
        ends, keys, fingerprint, identity = known
        if (
            ends > self._now()
            and keys.holds(fingerprint)
            and self._deny_list.find(identity) is None
        ):
            self._verified.move_to_end(digest)
            return identity
        del self._verified[digest]
        return None

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        """Keep the most recently used."""
        self._verified[digest] = verified
        if len(self._verified) > self._cached_tokens:
            self._verified.popitem(last=False)

    async def _verify(self, text: str) -> _Verified:
        token = read_token(text, self._maximum_token_bytes)
        unverified_issuer = token.unverified_claims.get("iss")
        issuer = (
            self._issuers.get(unverified_issuer) if isinstance(unverified_issuer, str) else None
        )
        if issuer is None:
            raise TokenRefused("iss is not one of ours")
        if token.algorithm not in issuer.rules.algorithms:
            raise TokenRefused("alg is not one of the issuer's")
        key = _only_key(await issuer.keys.keys_for(token.kid), token)
        if not key.verifies(token.algorithm, token.signing_input, token.signature):
            raise TokenRefused("the signature is wrong")
        claims = token.unverified_claims  # verified from here on
        identity = read_identity(
            token.typ, claims, issuer.rules, self._now(), self.hash_token(text)
        )
        entry = self._deny_list.find(identity)
        if entry is not None:
            raise TokenRefused(f"on the deny list by {entry}")
        # the leeway as well, so that a remembered token gets the verdict that a new one would get
        ends = identity.expires + issuer.rules.leeway_seconds
        return _Verified(ends, issuer.keys, key.fingerprint, identity)


def _only_key(keys: Sequence[VerificationKey], token: UnverifiedToken) -> VerificationKey:
    """The one key that fits; with several, the issuer has not said which, and we do not try them all."""
    fitting = [key for key in keys if token.algorithm in key.algorithms]
    if len(fitting) != 1:
        which = "no kid" if token.kid is None else "its kid"
        raise TokenRefused(f"{which}, and {len(fitting)} keys fit instead of one")
    return fitting[0]


def _challenge_header(challenge: str) -> tuple[tuple[str, str], ...]:
    return (("WWW-Authenticate", challenge),)
