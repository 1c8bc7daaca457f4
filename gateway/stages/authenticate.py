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
from gateway.model import Browser, Clock, Identity, InboundRequest, Secret
from gateway.request.onward import to_login
from gateway.token.challenge import bearer_challenge
from gateway.token.form import UnverifiedToken, read_token
from gateway.token.identity import TokenRules, read_identity
from gateway.token.keys import VerificationKey, only_key
from gateway.token.refused import TokenExpired, TokenRefused

_TOKEN_HASH_BYTES = 16
_UNAUTHORIZED = 401


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


class Sessions(Protocol):
    """Whose a browser's session is."""

    async def identify(self, browser: Browser, method: str) -> Identity:
        """Raise Denied where it is nobody's any more, or another site caused the request."""
        ...

    def is_forged(self, session: Secret) -> bool:
        """Whether this id was never given to anybody. Asks nobody."""
        ...


class Attempt(NamedTuple):
    """A token that is not known yet, as far as it can be told before anything of it is verified.

    `unverified_subject` is empty where none can be read. `digest` is the token's SHA-256.
    """

    address: str
    unverified_subject: str
    digest: bytes
    claims_to_be_expired: bool


class FailureBudget(Protocol):
    """How many authentications may fail, by address and claimed subject."""

    async def check(self, attempt: Attempt) -> None:
        """Raise Denied(AUTHENTICATION_THROTTLED) where they are used up; never for a trusted token."""
        ...

    async def count(self, attempt: Attempt, *, is_expired: bool) -> None:
        """Count one. `is_expired`: the issuer did sign the token, and it has ended."""
        ...

    def trust(self, digest: bytes) -> None:
        """The token with this digest has verified."""
        ...


class AnonymousBudget(Protocol):
    """How many requests may come without a token, by address."""

    async def count(self, address: str) -> None:
        """Count one. Raise Denied(ANONYMOUS_THROTTLED) where they are used up."""
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
        anonymous: AnonymousBudget,
        resource_metadata: str,
        maximum_token_bytes: int,
        cached_tokens: int,
        hash_key: bytes,
        sessions: Sessions | None = None,
    ) -> None:
        self._sessions = sessions
        self._issuers = {issuer.rules.issuer: issuer for issuer in issuers}
        self._deny_list = deny_list
        self._failures = failures
        self._anonymous = anonymous
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
        """Raise Denied with 401, 429 (too many from there) or 503 (no keys) where there is no identity."""
        if request.bearer is None:
            return await self._without_bearer(request)
        digest = request.bearer.digest()
        identity = self._recall(digest)
        if identity is not None:
            return identity
        return await self._meet(request.bearer.reveal, digest, request.client_address)

    async def _without_bearer(self, request: InboundRequest) -> Identity:
        """The identity of a session, where there is one. Whatever is none counts as no token."""
        browser = request.browser
        if self._sessions is None or browser is None or browser.session is None:
            await self._anonymous.count(request.client_address)
            raise Denied(Reason.TOKEN_MISSING, headers=self._missing + to_login(request))
        try:
            return await self._sessions.identify(browser, request.method)
        except Denied as denied:
            if denied.reason.status == _UNAUTHORIZED:
                if self._sessions.is_forged(browser.session):
                    await count_forged(self._failures, request.client_address, browser.session)
                await self._anonymous.count(request.client_address)
                denied.headers += self._missing + to_login(request)
            raise

    async def _meet(self, text: str, digest: bytes, address: str) -> Identity:
        """A token that is not remembered."""
        token = self._read(text)
        attempt = _attempt(token, digest, address, self._now())
        await self._failures.check(attempt)
        try:
            if isinstance(token, TokenRefused):
                raise token
            verified = await self._verify(token, text)
        except TokenRefused as refused:
            await self._failures.count(attempt, is_expired=isinstance(refused, TokenExpired))
            raise Denied(Reason.TOKEN_INVALID, refused.cause, headers=self._invalid) from None
        self._failures.trust(digest)
        self._remember(digest, verified)
        return verified.identity

    def _read(self, text: str) -> UnverifiedToken | TokenRefused:
        """Taken apart before the budget is asked, because that counts by what the token claims."""
        try:
            return read_token(text, self._maximum_token_bytes)
        except TokenRefused as refused:
            return refused

    def hash_token(self, bearer: str) -> str:
        """The token's keyed hash, by which the audit names it: HMAC-SHA256, 128 bits, hexadecimal."""
        digest = hmac.digest(self._hash_key, bearer.encode("utf-8", "surrogatepass"), "sha256")
        return digest[:_TOKEN_HASH_BYTES].hex()

    def holds(self, request: InboundRequest, identity: Identity) -> bool:
        """Whether this identity, which was made here, would be the request's again at once. Never waits."""
        return request.bearer is not None and self._recall(request.bearer.digest()) is identity

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

    async def _verify(self, token: UnverifiedToken, text: str) -> _Verified:
        unverified_issuer = token.unverified_claims.get("iss")
        issuer = (
            self._issuers.get(unverified_issuer) if isinstance(unverified_issuer, str) else None
        )
        if issuer is None:
            raise TokenRefused("iss is not one of ours")
        if token.algorithm not in issuer.rules.algorithms:
            raise TokenRefused("alg is not one of the issuer's")
        key = only_key(await issuer.keys.keys_for(token.kid), token)
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


async def count_forged(failures: FailureBudget, address: str, session: Secret) -> None:
    """A session's id that was made elsewhere is a failed authentication of its address.

    An id that was made here is never refused for what else its address does. Raises Denied where the
    address has failed too often.
    """
    subject = f"session {session.digest().hex()}"
    attempt = Attempt(address, subject, b"", claims_to_be_expired=False)
    await failures.check(attempt)
    await failures.count(attempt, is_expired=False)


def _attempt(
    token: UnverifiedToken | TokenRefused, digest: bytes, address: str, now: float
) -> Attempt:
    if isinstance(token, TokenRefused):
        return Attempt(address, "", digest, claims_to_be_expired=False)
    subject = token.unverified_claims.get("sub")
    expires = token.unverified_claims.get("exp")
    return Attempt(
        address,
        subject if isinstance(subject, str) else "",
        digest,
        claims_to_be_expired=isinstance(expires, int | float) and expires <= now,
    )


def _challenge_header(challenge: str) -> tuple[tuple[str, str], ...]:
    return (("WWW-Authenticate", challenge),)
