"""The bytes of a request's body -> a JSON object with exactly one reading, or BodyRefused.

slurmrestd's own reader takes much more: the last of two members with one name, NaN, comments,
names cut at a NUL. What is taken here is read by every release as it is read here.
"""

import json
import json.decoder
import json.scanner
import re
from collections.abc import Callable
from math import isfinite
from typing import Any, NoReturn

MAXIMUM_DEPTH = 16
"""slurmrestd's own reader ends at 32; descriptions of jobs are four deep."""
_NO_DIGITS = re.compile(r"(?<!\\)(?:\\\\)*\\u(?![0-9A-Fa-f]{4})")
"""An escape without its four digits, and not an escaped backslash before a u."""
_CASE_MATTERS = frozenset({"environment", "spank_environment"})
"""Their members are variables, whose names differ by case."""


class BodyRefused(ValueError):
    """The text is not one JSON object with one reading. The message quotes nothing of it."""


def read_body(raw: bytes, *, patiently: bool = False) -> dict[str, Any]:
    """Parse UTF-8 JSON whose top is an object.

    Raises BodyRefused for anything else: other encodings, duplicate names (compared without case,
    but for those of environments), numbers that are none, more than MAXIMUM_DEPTH levels, NUL and
    lone surrogates. `patiently` is for large bodies in a thread: ten times slower, in steps so
    small that other threads run between them.
    """
    decode = _PATIENT if patiently else _QUICK
    try:
        value = decode(raw.decode("utf-8"))
    except BodyRefused:
        raise
    except (ValueError, RecursionError):
        raise BodyRefused("not JSON in UTF-8") from None
    if not isinstance(value, dict):
        raise BodyRefused("not a JSON object")
    # NUL and surrogates can only come from an escape: raw ones are not valid here
    _check(value, MAXIMUM_DEPTH, has_escapes=b"\\u" in raw, folds=True)
    return value


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise BodyRefused("a name stands twice in one object")
    return value


def _refuse_constant(_name: str) -> NoReturn:
    raise BodyRefused("NaN or Infinity")


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise BodyRefused("a number without end")
    return value


def _check(value: Any, room: int, *, has_escapes: bool, folds: bool) -> None:
    if isinstance(value, str):
        if has_escapes:
            _check_text(value)
        return
    if not isinstance(value, dict | list):
        return
    if not room:
        raise BodyRefused("nested too deep")
    if isinstance(value, list):
        for item in value:
            _check(item, room - 1, has_escapes=has_escapes, folds=True)
        return
    names = {name.casefold() for name in value} if folds else value
    if len(names) != len(value):
        raise BodyRefused("two names differ by case only")
    for name, member in value.items():
        _check(name, room, has_escapes=has_escapes, folds=True)
        matters = name.casefold() in _CASE_MATTERS
        _check(member, room - 1, has_escapes=has_escapes, folds=not matters)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise BodyRefused("NUL")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BodyRefused("a lone surrogate") from None


def _quick() -> Callable[[str], Any]:
    return json.JSONDecoder(
        object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
    ).decode


def _scan_text(text: str, begin: int, strict: bool = True) -> tuple[str, int]:
    r"""A string from behind its quotation mark; Python's own reader would take "\u 7_" for hexadecimal digits."""
    value: str
    end: int
    value, end = json.decoder.py_scanstring(text, begin, strict)  # type: ignore[attr-defined]  # as below
    if _NO_DIGITS.search(text, begin, end):
        raise BodyRefused("not JSON in UTF-8")
    return value, end


def _patient() -> Callable[[str], Any]:
    """The same from the standard library's reader in Python, which holds no lock for long."""
    decoder = json.JSONDecoder(
        object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
    )
    decoder.parse_string = _scan_text  # type: ignore[attr-defined]  # typeshed leaves it out
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]  # same
    return decoder.decode


_QUICK, _PATIENT = _quick(), _patient()
