"""The text of a bearer token -> its parts, if it is a compact JWS that this gateway can judge.

Nothing here is verified. The rules are those of RFC 7515 section 3.1 and of RFC 8725 section 3,
in their strict reading, whatever the verifying library would forgive:

- three segments, each non-empty base64url without padding or stray bits (RFC 7515 section 2,
  RFC 4648 section 3.5), so that one token has one text;
- no `crit`, `b64` or `zip`: no extension is understood here (RFC 7515 section 4.1.11, RFC 7797),
  and a five-part JWE is not a JWS;
- `jku`, `jwk`, `x5u`, `x5c` and `x5t` are never read. They are not refused either, because large
  providers send `x5t` or `jku` in every token; the key comes from the issuer's own key set alone.
"""

import base64
import re
from dataclasses import dataclass
from typing import Any

from gateway.token.refused import TokenRefused
from gateway.token.strict_json import JsonRefused, read_object

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_KEY_ID = re.compile(r"[\x20-\x7e]{1,256}")
_EXTENSIONS = ("crit", "b64", "zip", "enc")
_LAST_CHARACTERS = {2: b"AQgw", 3: b"AEIMQUYcgkosw048"}
"""By length modulo four: the characters whose unused low bits are zero."""


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A well-formed token. `kid` and `typ` are None where the header has none."""

    algorithm: str
    kid: str | None
    typ: str | None
    unverified_claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def read_token(text: str, maximum_bytes: int) -> UnverifiedToken:
    """Take a token apart. Raises TokenRefused."""
    if len(text) > maximum_bytes:
        raise TokenRefused("longer than maximum_token_bytes")
    match = _COMPACT.fullmatch(text)
    if match is None:
        raise TokenRefused("not three base64url segments")
    header, payload, signature = (segment.encode("ascii") for segment in match.groups())
    members = _read_segment(header, "header")
    for name in _EXTENSIONS:
        if name in members:
            raise TokenRefused(f"header: {name} is not supported")
    return UnverifiedToken(
        algorithm=_text(members, "alg") or "",
        kid=_key_id(members),
        typ=_text(members, "typ"),
        unverified_claims=_read_segment(payload, "claims"),
        signing_input=header + b"." + payload,
        signature=decode_segment(signature),
    )


def decode_segment(segment: bytes) -> bytes:
    """Decode canonical base64url of the right alphabet. Raises TokenRefused."""
    remainder = len(segment) % 4
    if remainder == 1 or (remainder and segment[-1] not in _LAST_CHARACTERS[remainder]):
        raise TokenRefused("base64url with stray bits")
    return base64.urlsafe_b64decode(segment + b"==="[: -remainder % 4])


def _read_segment(segment: bytes, name: str) -> dict[str, Any]:
    try:
        return read_object(decode_segment(segment))
    except JsonRefused as refused:
        raise TokenRefused(f"{name}: {refused}") from None


def _text(members: dict[str, Any], name: str) -> str | None:
    if name not in members:
        return None
    value = members[name]
    if not isinstance(value, str):
        raise TokenRefused(f"header: {name} is not a string")
    return value


def _key_id(members: dict[str, Any]) -> str | None:
    kid = _text(members, "kid")
    if kid is not None and not _KEY_ID.fullmatch(kid):
        raise TokenRefused("header: kid is empty, too long or not printable ASCII")
    return kid
