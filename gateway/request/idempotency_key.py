"""The value of Idempotency-Key -> the key, or None where it has no single reading.

draft-ietf-httpapi-idempotency-key-header asks for a Structured Field string (RFC 9651 section 3.3.3),
in double quotes. Most clients send a bare UUID, so a bare word is taken too: "a1" and a1 are one key.
"""

import re
from typing import Final

MAXIMUM_KEY_CHARACTERS: Final = 255

_QUOTED: Final = re.compile(rb'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')
_BARE: Final = re.compile(rb"[A-Za-z0-9._~:/+=@-]+")
_ESCAPED: Final = re.compile(rb'\\(["\\])')
_MAXIMUM_VALUE_BYTES: Final = 2 * MAXIMUM_KEY_CHARACTERS + 2


def read_key(value: bytes) -> str | None:
    """1 to 255 printable ASCII characters. Parameters, lists and an empty key are refused."""
    if len(value) > _MAXIMUM_VALUE_BYTES:
        return None
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        key = _ESCAPED.sub(rb"\1", quoted[1])
    elif _BARE.fullmatch(value):
        key = value
    else:
        return None
    return key.decode("ascii") if len(key) <= MAXIMUM_KEY_CHARACTERS else None
