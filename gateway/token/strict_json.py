"""bytes -> a JSON object with exactly one reading.

Python's parser takes the last of two members with one name, NaN, and any depth; RFC 8725 section
2.4 and RFC 8259 sections 4 and 8.1 say why a verifier must not.
"""

import json
import re
from math import isfinite
from typing import Any, NoReturn

MAXIMUM_DEPTH = 16
"""Keycloak nests its authorization claims seven deep; nobody was seen to go beyond ten."""

_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


class JsonRefused(ValueError):
    """The text is not one JSON object with one reading. The message quotes nothing of it."""


def read_object(raw: bytes) -> dict[str, Any]:
    """Parse UTF-8 JSON whose top is an object.

    Raises JsonRefused for anything else: other encodings, a byte order mark, duplicate names at
    any level, NaN, Infinity and what is read as such, more than MAXIMUM_DEPTH levels, NUL and lone surrogates.
    """
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except JsonRefused:
        raise
    except (ValueError, RecursionError):
        raise JsonRefused("not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise JsonRefused("not a JSON object")
    # NUL and surrogates can only come from an escape: raw ones are not valid here.
    _check(value, MAXIMUM_DEPTH, has_escapes=b"\\u" in raw)
    return value


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise JsonRefused("a name stands twice in one object")
    return value


def _refuse_constant(_name: str) -> NoReturn:
    raise JsonRefused("NaN or Infinity")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise JsonRefused("a number without end")
    return value


def _check(value: Any, room: int, *, has_escapes: bool) -> None:
    if isinstance(value, str):
        if has_escapes and _UNSTORABLE.search(value):
            raise JsonRefused("NUL or a lone surrogate")
        return
    if not isinstance(value, dict | list):
        return
    if not room:
        raise JsonRefused("nested too deep")
    if isinstance(value, dict):
        for name, member in value.items():
            _check(name, room, has_escapes=has_escapes)
            _check(member, room - 1, has_escapes=has_escapes)
    else:
        for item in value:
            _check(item, room - 1, has_escapes=has_escapes)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
)
