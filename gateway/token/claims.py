"""Claims -> values of the right type and size, or TokenRefused. Absent is None, null is wrong."""

import re
from collections.abc import Mapping
from typing import Any

from gateway.token.refused import TokenRefused

Claims = Mapping[str, Any]

MAXIMUM_GROUPS = 1024
_MAXIMUM_CHARACTERS = 1024
"""OpenID Connect Core section 2 ends `sub` at 255; CI providers put a whole ref into theirs."""
_MAXIMUM_AUDIENCES = 64
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999; a time beyond it is a mistake or an attack."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def read_text(claims: Claims, name: str) -> str | None:
    """A non-empty string without control characters."""
    if name not in claims:
        return None
    return _checked(claims[name], name)


def require_text(claims: Claims, name: str) -> str:
    """As read_text, but it must be there."""
    if name not in claims:
        raise TokenRefused(f"{name} is missing")
    return _checked(claims[name], name)


def read_time(claims: Claims, name: str) -> float | None:
    """Seconds since the epoch (NumericDate, RFC 7519 section 2): a number, never a string or a bool."""
    if name not in claims:
        return None
    value = claims[name]
    if type(value) not in (int, float) or not 0 <= value <= _LAST_SECOND:
        raise TokenRefused(f"{name} is not a time")
    return float(value)


def require_time(claims: Claims, name: str) -> float:
    """As read_time, but it must be there."""
    value = read_time(claims, name)
    if value is None:
        raise TokenRefused(f"{name} is missing")
    return value


def read_audiences(claims: Claims) -> frozenset[str]:
    """`aud` as a set, empty where it is absent; an empty string or array is refused."""
    if "aud" not in claims:
        return frozenset()
    value = claims["aud"]
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not 0 < len(values) <= _MAXIMUM_AUDIENCES:
        raise TokenRefused("aud is not a string or a short array of strings")
    return frozenset(_checked(item, "aud") for item in values)


def read_groups(claims: Claims, name: str | None, separator: str | None) -> tuple[str, ...]:
    """The groups of the configured claim, in order; none where it is absent, null or not configured.

    A string is one group, whatever is in it, unless the issuer has a separator.
    """
    value = claims.get(name) if name is not None else None
    if value is None:
        return ()
    if isinstance(value, str):
        value = [part.strip() for part in value.split(separator)] if separator else [value]
    if not isinstance(value, list) or len(value) > MAXIMUM_GROUPS:
        raise TokenRefused(
            f"the group claim is not a string or an array of at most {MAXIMUM_GROUPS}"
        )
    return tuple(dict.fromkeys(_checked(item, "a group") for item in value if item != ""))


def _checked(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TokenRefused(f"{name} is not a string")
    if not 0 < len(value) <= _MAXIMUM_CHARACTERS:
        raise TokenRefused(f"{name} is empty or longer than {_MAXIMUM_CHARACTERS} characters")
    if _CONTROL.search(value):
        raise TokenRefused(f"{name} has a control character")
    return value
