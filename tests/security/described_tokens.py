"""An entry of corpus/tokens.toml -> the token it describes and the stage that judges it."""

import json
import re
import string
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gateway.stages.authenticate import Authenticate
from tests.tokens import (
    FakeKeys,
    as_segment,
    b64,
    base_claims,
    base_header,
    make_stage,
    public_jwk,
    sign,
    trusted_issuer,
)

Entry = dict[str, Any]

_ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
_SIGNED = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "HS256", "HS384", "HS512")


def build_token(entry: Entry) -> str:
    """The text of the token."""
    if "text" in entry:
        return str(entry["text"])
    issuer = entry.get("issuer", "oidc")
    header = _build_part(entry, "header", base_header(issuer))
    claims = _build_part(entry, "claims", base_claims(issuer))
    stray = entry.get("stray_bits", "")
    h = _with_stray_bits(_padded(header)) if stray == "h" else as_segment(header)
    p = _with_stray_bits(_padded(claims)) if stray == "p" else as_segment(claims)
    s = b64(_build_signature(f"{h}.{p}".encode(), entry, issuer))
    template: str = entry.get("template", "{h}.{p}.{s}")
    return template.format(h=h, p=p, s=_with_stray_bits(s) if stray == "s" else s)


def build_stage(entry: Entry) -> Authenticate:
    """The stage with all issuers, one of them as the entry says."""
    issuer = entry.get("issuer", "oidc")
    jwk = public_jwk(issuer)
    for name, value in entry.get("jwk", {}).items():
        jwk[name] = value
        if value == "(absent)":
            del jwk[name]
    published = [_published(name) for name in entry.get("published", [])] or [jwk]
    judged = trusted_issuer(issuer, FakeKeys(*published), entry.get("algorithms", ["RS256"]))
    neighbours = [name for name in ("neighbour", "rfc9068") if name != issuer]
    return make_stage(judged, *map(trusted_issuer, neighbours))


def _published(name: str) -> Entry:
    key, _, kid = name.partition(" as ")
    return public_jwk(key, kid=kid or "k1")


def _build_part(entry: Entry, part: str, good: Entry) -> bytes:
    if f"{part}_hex" in entry:
        return bytes.fromhex(entry[f"{part}_hex"])
    if f"raw_{part}" in entry:
        return str(entry[f"raw_{part}"]).encode()
    members = {**good, **{name: _expand(value) for name, value in entry.get(part, {}).items()}}
    for name in entry.get(f"without_{part}", []):
        del members[name]
    text = json.dumps(members)
    if splice := entry.get(f"splice_{part}"):
        text = f"{text.removesuffix('}')},{_expand_text(splice)}}}"
    return text.encode()


def _expand(value: Any) -> Any:
    """Values too long to write down."""
    match = re.fullmatch(r"\((\w+) (\w+)\)", value) if isinstance(value, str) else None
    if match is None:
        return value
    what, size = match.groups()
    if what == "public":
        return public_jwk(size)
    return [f"x{i}" for i in range(int(size))] if what == "array" else "x" * int(size)


def _expand_text(text: str) -> str:
    text = re.sub(r"\(long (\d+) digits\)", lambda match: "0" * int(match[1]), text)
    return re.sub(
        r"\(nested (\d+)\)", lambda match: "[" * int(match[1]) + "]" * int(match[1]), text
    )


def _padded(part: bytes) -> bytes:
    """JSON with spaces until its last base64url character has unused bits."""
    return part + b" " * (-(len(part) - 1) % 3)


def _with_stray_bits(value: bytes | str) -> str:
    """Other text, the same bytes for a decoder that forgives."""
    segment = value if isinstance(value, str) else b64(value)
    assert len(segment) % 4 in (2, 3)
    last = _ALPHABET.index(segment[-1])
    return segment[:-1] + _ALPHABET[last ^ 1]


def _build_signature(signing_input: bytes, entry: Entry, issuer: str) -> bytes:
    key: str = entry.get("key", issuer)
    algorithm: str = entry.get("sign_as") or entry.get("header", {}).get("alg", "RS256")
    if key == "nobody":
        return b""
    if key.startswith("zeros:"):
        return bytes(int(key.removeprefix("zeros:")))
    if key == "of-another-token":
        return sign(b"another." + signing_input, algorithm, issuer)
    if algorithm == "ES256-DER":
        raw = sign(signing_input, "ES256", key)
        return encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
    assert algorithm in _SIGNED, f"say sign_as: nobody signs {algorithm!r}"
    return sign(signing_input, algorithm, key)
