"""A JWK Set (RFC 7517) -> keys that may verify a signature, each bound to its algorithms.

joserfc imports the keys and checks the signatures. What it leaves open is closed here: keys that
are too small, symmetric or private, and `use`, `key_ops` and `alg` that speak against verifying.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from gateway.token.form import UnverifiedToken, decode_segment
from gateway.token.refused import TokenRefused
from gateway.token.strict_json import JsonRefused, read_object

MINIMUM_RSA_BITS = 2048
MAXIMUM_RSA_BITS = 8192
"""A verification costs 16 microseconds at 2048 bits, and four times that with each doubling."""

_MAXIMUM_KEYS = 100
_KEY_ID_CHARACTERS = 256
_FAMILIES = {
    "RSA": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "EC P-256": frozenset({"ES256"}),
    "EC P-384": frozenset({"ES384"}),
    "OKP Ed25519": frozenset({"EdDSA"}),
}
"""Key type (and curve) -> what it may verify (RFC 7518 section 3.1, RFC 8037). Never an HMAC."""


class KeyUnusable(ValueError):
    """A JWK, or a whole set, that verifies nothing here; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """One public key. `fingerprint` tells it from every other, its kid and algorithms included."""

    kid: str | None
    algorithms: frozenset[str]
    fingerprint: str
    key: Key

    def verifies(self, algorithm: str, signing_input: bytes, signature: bytes) -> bool:
        """Whether the signature is good. False for an algorithm that this key is not for."""
        if algorithm not in self.algorithms:
            return False
        return JWSRegistry.algorithms[algorithm].verify(signing_input, signature, self.key)


@dataclass(frozen=True, slots=True, eq=False)
class KeySet:
    """The usable keys of one JWK Set, and why others were left out."""

    keys: tuple[VerificationKey, ...]
    skipped: tuple[str, ...]
    fingerprints: frozenset[str]

    def matching(self, kid: str | None) -> Sequence[VerificationKey]:
        """The keys with this kid; all of them for None."""
        if kid is None:
            return self.keys
        return tuple(key for key in self.keys if key.kid == kid)


def read_key_set(raw: bytes) -> KeySet:
    """Parse a JWK Set. Keys that cannot be used are skipped; raises KeyUnusable if none is left."""
    try:
        entries = read_object(raw).get("keys")
    except JsonRefused as refused:
        raise KeyUnusable(f"the JWK Set is refused: {refused}") from None
    if not isinstance(entries, list) or len(entries) > _MAXIMUM_KEYS:
        raise KeyUnusable(f"the JWK Set has no array `keys` of at most {_MAXIMUM_KEYS}")
    usable: dict[str, VerificationKey] = {}
    skipped = []
    for place, entry in enumerate(entries):
        try:
            key = read_key(entry)
            usable[key.fingerprint] = key
        except KeyUnusable as unusable:
            skipped.append(f"keys[{place}]: {unusable}")
    if not usable:
        raise KeyUnusable("; ".join(["the JWK Set has no usable key", *skipped]))
    return KeySet(tuple(usable.values()), tuple(skipped), frozenset(usable))


def only_key(keys: Sequence[VerificationKey], token: UnverifiedToken) -> VerificationKey:
    """The one key that fits; with several, the issuer has not said which, and we do not try them all.

    Raises TokenRefused.
    """
    fitting = [key for key in keys if token.algorithm in key.algorithms]
    if len(fitting) != 1:
        which = "no kid" if token.kid is None else "its kid"
        raise TokenRefused(f"{which}, and {len(fitting)} keys fit instead of one")
    return fitting[0]


def read_key(jwk: Any) -> VerificationKey:
    """Parse one JWK. Raises KeyUnusable."""
    if not isinstance(jwk, dict):
        raise KeyUnusable("not an object")
    if "d" in jwk or "k" in jwk:
        raise KeyUnusable("holds a secret")
    kid = _read_key_id(jwk)
    _check_purpose(jwk)
    family, key = _import_key(jwk)
    algorithms = _FAMILIES[family]
    if "alg" in jwk:
        algorithms &= {jwk["alg"]} if isinstance(jwk["alg"], str) else frozenset()
    if not algorithms:
        raise KeyUnusable("alg is not one that a key of this type verifies here")
    fingerprint = " ".join(
        [key.thumbprint(), *sorted(algorithms), "" if kid is None else f"={kid}"]
    )
    return VerificationKey(kid, algorithms, fingerprint, key)


def _read_key_id(jwk: dict[str, Any]) -> str | None:
    kid = jwk.get("kid")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= _KEY_ID_CHARACTERS):
        raise KeyUnusable("kid is not a string of 1 to 256 characters")
    return kid


def _check_purpose(jwk: dict[str, Any]) -> None:
    """RFC 7517 sections 4.2 and 4.3: a key for something else verifies nothing."""
    if jwk.get("use", "sig") != "sig":
        raise KeyUnusable("use is not sig")
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise KeyUnusable("key_ops has no verify")


def _import_key(jwk: dict[str, Any]) -> tuple[str, Key]:
    """(family, key), from the public members alone."""
    match jwk:
        case {"kty": "RSA", "n": str(n), "e": str(e)}:
            _check_rsa(_read_number(n), _read_number(e))
            return "RSA", _imported(RSAKey, {"kty": "RSA", "n": n, "e": e})
        case {"kty": "EC", "crv": "P-256" | "P-384" as curve, "x": str(x), "y": str(y)}:
            return f"EC {curve}", _imported(ECKey, {"kty": "EC", "crv": curve, "x": x, "y": y})
        case {"kty": "OKP", "crv": "Ed25519", "x": str(x)}:
            return "OKP Ed25519", _imported(OKPKey, {"kty": "OKP", "crv": "Ed25519", "x": x})
        case _:
            raise KeyUnusable("not a public RSA, P-256, P-384 or Ed25519 key")


def _imported(kind: type[RSAKey | ECKey | OKPKey], public: dict[str, Any]) -> Key:
    try:
        return kind.import_key(public)
    except (JoseError, ValueError):
        raise KeyUnusable("cannot be imported") from None


def _check_rsa(modulus: int, exponent: int) -> None:
    """NIST SP 800-131A for the size, FIPS 186-5 section 5.1 for the exponent."""
    if not MINIMUM_RSA_BITS <= modulus.bit_length() <= MAXIMUM_RSA_BITS or not modulus % 2:
        raise KeyUnusable(f"RSA modulus is not of {MINIMUM_RSA_BITS} to {MAXIMUM_RSA_BITS} bits")
    if not 2**16 < exponent < 2**32 or not exponent % 2:
        raise KeyUnusable("RSA exponent is not odd between 2^16 and 2^32")


def _read_number(text: str) -> int:
    try:
        return int.from_bytes(decode_segment(text.encode("ascii")), "big")
    except (TokenRefused, ValueError):
        raise KeyUnusable("a number is not base64url") from None
