"""Claims -> a token that Slurm's auth/jwt takes, and a token of Slurm's -> whose it says it is."""

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, NamedTuple

from gateway.model import Secret
from gateway.token.strict_json import read_object

MINIMUM_KEY_BYTES = 32
"""RFC 7518 section 3.2: an HS256 key is at least as long as its hash."""
_PUBLIC = (b"-----BEGIN PUBLIC KEY", b"-----BEGIN RSA PUBLIC KEY", b"-----BEGIN CERTIFICATE")
_HEADER = urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=")
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_LAST_SECOND = 1 << 53
MAXIMUM_TOKEN_CHARACTERS = 32_768
"""slurmrestd reads header lines up to about 80 kB and took tokens of 60 kB (measured)."""


class SlurmKey:
    """Slurm's jwt_hs256.key, byte for byte: whoever has it is any user of the cluster.

    Signed here with the standard library's HMAC, in four lines, because JOSE libraries refuse or
    warn about PEM text as an HMAC key, which guards verifiers against taking a public key for a
    secret; this only signs, with one fixed algorithm, and old Slurm pages made such keys.
    Raises ValueError, with a sentence, for a key that is no secret.
    """

    __slots__ = ("_stored",)

    def __init__(self, stored: bytes) -> None:
        if not stored:
            raise ValueError("is empty")
        if len(stored) < MINIMUM_KEY_BYTES:
            raise ValueError(f"has {len(stored)} bytes; an HS256 key needs {MINIMUM_KEY_BYTES}")
        if stored.lstrip().startswith(_PUBLIC):
            raise ValueError("holds a public key or certificate, which is no secret")
        self._stored = stored

    def __repr__(self) -> str:
        return "SlurmKey(…)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not serialised")

    def sign(self, claims: Mapping[str, object]) -> Secret:
        """A compact JWS over these claims (RFC 7515 section 3.1)."""
        payload = json.dumps(claims, separators=(",", ":"), allow_nan=False).encode()
        signed = _HEADER + b"." + urlsafe_b64encode(payload).rstrip(b"=")
        signature = hmac.digest(self._stored, signed, "sha256")
        return Secret((signed + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode())


class SlurmToken(NamedTuple):
    """A token made elsewhere. What it says of itself is not verified here: Slurm does that.

    `unverified_expires` is in seconds since the epoch.
    """

    secret: Secret
    unverified_user: str
    unverified_expires: float


def read_slurm_token(text: str) -> SlurmToken:
    """A raw token or the line `SLURM_JWT=…` that scontrol prints. Raises ValueError, without it.

    Slurm reads the user from `sun`, else from `username`, and refuses a token without `exp`.
    """
    token = text.strip().removeprefix("SLURM_JWT=").strip()
    found = _COMPACT.fullmatch(token)
    if found is None or len(token) > MAXIMUM_TOKEN_CHARACTERS:
        raise ValueError("is not one signed token")
    claims = _claims(found[1])
    user = slurm_user_of(claims)
    expires: Any = claims.get("exp")
    if not user:
        raise ValueError("names no user: it has neither sun nor username")
    if type(expires) not in (int, float) or not 0 <= expires <= _LAST_SECOND:
        raise ValueError("has no exp, which Slurm asks for, or one that is not a time")
    return SlurmToken(Secret(token), user, float(expires))


def slurm_user_of(claims: Mapping[str, object]) -> str | None:
    """Whom Slurm takes a token's holder for: None if it says nobody. Raises ValueError."""
    user = claims.get("sun", claims.get("username"))
    if user is not None and not isinstance(user, str):
        raise ValueError("names its user by something else than a text")
    return user


def _claims(payload: str) -> dict[str, Any]:
    try:
        return read_object(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        raise ValueError("has a payload that is not one JSON object") from None
