"""A description of a token -> the token, signed as described; and issuers that trust the right keys."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from gateway.model import Identity
from gateway.stages.authenticate import Attempt, Authenticate, KeySource, TrustedIssuer
from gateway.token.identity import TokenRules
from gateway.token.keys import KeySet, KeyUnusable, VerificationKey, read_key_set
from gateway.token.profiles import Cognito, Oidc, Profile, Rfc9068
from tests.fakes import FakeClock

NOW = 1_800_000_000
AUDIENCE = "https://slurm.example.org"
METADATA = "https://slurm.example.org/.well-known/oauth-protected-resource"
COGNITO_POOL = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEf123"
ISSUERS = {
    "oidc": "https://idp.example.org",
    "rfc9068": "https://at.example.org/realms/hpc",
    "cognito": COGNITO_POOL,
    "logins": "https://logins.example.org",
    "cognito-logins": COGNITO_POOL + "-logins",
    "neighbour": "https://neighbour.example.org",
}
"""Every one trusts a key of its own by the kid "k1"; `neighbour` is a second plain one."""


@cache
def private_key(name: str) -> RSAKey | ECKey | OKPKey:
    """A key pair by name, made once a run. `rsa:1024` and the like state the size."""
    kind, _, size = name.partition(":")
    if kind == "ec":
        return ECKey.generate_key(size)
    if kind == "ed":
        return OKPKey.generate_key("Ed25519")
    if size.isdigit() and int(size) < 2048:  # the library would warn
        small = generate_private_key(65537, int(size))
        return RSAKey(small, small)
    return RSAKey.generate_key(2048)


def public_jwk(name: str, **members: object) -> dict[str, Any]:
    """The public half as a JWK; a member of None is left out."""
    jwk = {**private_key(name).as_dict(private=False), "kid": "k1", **members}
    return {name: value for name, value in jwk.items() if value is not None}


def b64(raw: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def as_segment(value: Mapping[str, object] | bytes) -> str:
    """JSON, or bytes as they are, as a segment."""
    return b64(value if isinstance(value, bytes) else json.dumps(value).encode())


def sign(signing_input: bytes, algorithm: str, key: str) -> bytes:
    """Sign with a named key, or with HMAC under public material: `hmac:pem`, `hmac:empty`, ..."""
    if key.startswith("hmac:"):
        digest = {"HS384": hashlib.sha384, "HS512": hashlib.sha512}.get(algorithm, hashlib.sha256)
        return hmac.new(_public_bytes(key.removeprefix("hmac:")), signing_input, digest).digest()
    return JWSRegistry.algorithms[algorithm].sign(signing_input, private_key(key))


def _public_bytes(form: str) -> bytes:
    key = private_key("oidc")
    jwk = key.as_dict(private=False)
    return {
        "pem": key.as_bytes("PEM", private=False),
        "pem-stripped": key.as_bytes("PEM", private=False).strip(),
        "der": key.as_bytes("DER", private=False),
        "jwk": json.dumps(jwk, separators=(",", ":")).encode(),
        "n": str(jwk["n"]).encode(),
        "modulus": base64.urlsafe_b64decode(str(jwk["n"]) + "=="),
        "empty": b"",
        "kid": b"k1",
    }[form]


def make_token(
    header: Mapping[str, object] | bytes,
    claims: Mapping[str, object] | bytes,
    key: str = "oidc",
    algorithm: str = "RS256",
) -> str:
    """A compact JWS over exactly these parts."""
    signing_input = f"{as_segment(header)}.{as_segment(claims)}"
    return f"{signing_input}.{b64(sign(signing_input.encode(), algorithm, key))}"


def base_header(issuer: str = "oidc") -> dict[str, Any]:
    """The header of a good token."""
    header = {"alg": "RS256", "kid": "k1"}
    return {**header, "typ": "at+jwt"} if issuer == "rfc9068" else header


def base_claims(issuer: str = "oidc") -> dict[str, Any]:
    """The claims of a good token of one of ISSUERS."""
    claims: dict[str, Any] = {
        "iss": ISSUERS[issuer],
        "sub": "subject-of-alice",
        "iat": NOW - 60,
        "exp": NOW + 3600,
        "client_id": "cli",
        "jti": "token-1",
    }
    if issuer.startswith("cognito"):
        return {**claims, "token_use": "access", "username": "alice"}
    return {**claims, "aud": AUDIENCE, "preferred_username": "alice", "groups": ["hpc-users"]}


def good_token(issuer: str = "oidc", **claims: object) -> str:
    """A token that is accepted, but for the claims given."""
    return make_token(base_header(issuer), {**base_claims(issuer), **claims}, issuer)


class FakeKeys:
    """A KeySource whose keys a test takes away."""

    def __init__(self, *jwks: Mapping[str, object]) -> None:
        self.error: Exception | None = None
        self.publish(*jwks)

    def publish(self, *jwks: Mapping[str, object]) -> None:
        """Replace the keys; those that cannot be used are left out."""
        try:
            self.keys = read_key_set(json.dumps({"keys": jwks}).encode())
        except KeyUnusable:
            self.keys = KeySet((), (), frozenset())

    async def keys_for(self, kid: str | None) -> Sequence[VerificationKey]:
        if self.error is not None:
            raise self.error
        return self.keys.matching(kid)

    def holds(self, fingerprint: str) -> bool:
        return self.error is None and fingerprint in self.keys.fingerprints


class FakeDenyList:
    """A DenyList of subjects."""

    def __init__(self) -> None:
        self.subjects: set[str] = set()

    def find(self, identity: Identity) -> str | None:
        return "subject" if identity.subject in self.subjects else None


class FakeFailures:
    """A FailureBudget that counts and can be told to refuse."""

    def __init__(self) -> None:
        self.checked: list[str] = []
        self.counted: list[str] = []
        self.attempts: list[Attempt] = []
        self.expired: list[str] = []
        self.trusted: list[bytes] = []
        self.refusal: Exception | None = None

    async def check(self, attempt: Attempt) -> None:
        self.checked.append(attempt.address)
        self.attempts.append(attempt)
        if self.refusal is not None and attempt.digest not in self.trusted:
            raise self.refusal

    async def count(self, attempt: Attempt, *, is_expired: bool) -> None:
        (self.expired if is_expired else self.counted).append(attempt.address)

    def trust(self, digest: bytes) -> None:
        self.trusted.append(digest)


class FakeAnonymous:
    """An AnonymousBudget that counts and can be told to refuse."""

    def __init__(self) -> None:
        self.counted: list[str] = []
        self.refusal: Exception | None = None

    async def count(self, address: str, digest: bytes | None = None) -> None:
        self.counted.append(address)
        if self.refusal is not None:
            raise self.refusal


def profile_of(issuer: str) -> Profile:
    """The profile that a test issuer has."""
    match issuer:
        case "rfc9068":
            return Rfc9068({AUDIENCE}, {"portal"})
        case "cognito":
            return Cognito({"cli", "pipeline"}, {AUDIENCE})
        case "cognito-logins":
            return Cognito({"cli", "portal"}, accept_id_tokens=True)
        case "logins":
            return Oidc({AUDIENCE}, {"portal", "desktop"}, accept_id_tokens=True)
        case _:
            return Oidc({AUDIENCE, "slurm"}, {"portal"})


def trusted_issuer(
    issuer: str, keys: KeySource | None = None, algorithms: Sequence[str] = ("RS256",)
) -> TrustedIssuer:
    """One of ISSUERS with its rules, and its own key unless other keys are given."""
    rules = TokenRules(
        issuer=ISSUERS[issuer],
        profile=profile_of(issuer),
        algorithms=frozenset(algorithms),
        leeway_seconds=30.0,
        maximum_lifetime_seconds=86_400.0,
        groups_claim="cognito:groups" if issuer.startswith("cognito") else "groups",
    )
    return TrustedIssuer(rules, FakeKeys(public_jwk(issuer)) if keys is None else keys)


def make_stage(
    *issuers: TrustedIssuer,
    clock: FakeClock | None = None,
    deny_list: FakeDenyList | None = None,
    failures: FakeFailures | None = None,
    anonymous: FakeAnonymous | None = None,
    cached_tokens: int = 100,
) -> Authenticate:
    """The stage over fakes; with all of ISSUERS where none is given."""
    return Authenticate(
        issuers or tuple(map(trusted_issuer, ISSUERS)),
        deny_list or FakeDenyList(),
        failures or FakeFailures(),
        clock or FakeClock(NOW),
        anonymous=anonymous or FakeAnonymous(),
        resource_metadata=METADATA,
        maximum_token_bytes=16_384,
        cached_tokens=cached_tokens,
        hash_key=b"k" * 32,
    )
