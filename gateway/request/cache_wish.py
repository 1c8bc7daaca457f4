"""Accept-Encoding and Cache-Control -> what the client takes of an answer that is kept.

RFC 9110 section 12.5.3 and RFC 9111 section 5.2.1. What cannot be read counts for nothing: at worst the
answer is longer, or as old as it may be for everybody.
"""

import re
from typing import Final

from gateway.model import CacheWish

CODINGS: Final = ("zstd", "gzip")
"""Those that are served, the better first."""

_QUALITY: Final = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_MAXIMUM_AGE: Final = re.compile(r"max-age=\"?([0-9]{1,9})\"?")
_ALIASES: Final = {"x-gzip": "gzip"}
"""RFC 9110 section 8.4.1.3."""


def read_wish(accept_encoding: bytes, cache_control: bytes) -> CacheWish:
    """Both fields joined, empty where there are none."""
    return CacheWish(
        _coding(accept_encoding.decode("latin-1")), _age(cache_control.decode("latin-1"))
    )


def _coding(text: str) -> str:
    """The coding that is preferred to none, "" where none is; the better of two that are equal."""
    wishes: dict[str, float] = {}
    for member in text.lower().split(","):
        name, *parameters = [part.strip(" \t") for part in member.split(";")]
        quality = _quality(parameters)
        if name and quality is not None:
            wishes[_ALIASES.get(name, name)] = quality
    anything = wishes.get("*", 0.0)
    found = {name: wishes.get(name, anything) for name in CODINGS}
    best = max(CODINGS, key=lambda name: found[name])
    return best if found[best] > 0 and found[best] >= wishes.get("identity", 0.0) else ""


def _quality(parameters: list[str]) -> float | None:
    if not parameters:
        return 1.0
    match = _QUALITY.fullmatch(parameters[0]) if len(parameters) == 1 else None
    return float(match[1]) if match else None


def _age(text: str) -> float | None:
    """`no-cache` and `no-store` ask for an answer of now."""
    ages: list[float] = []
    for member in text.lower().split(","):
        directive = member.strip(" \t")
        if directive in ("no-cache", "no-store"):
            ages.append(0.0)
        elif match := _MAXIMUM_AGE.fullmatch(directive):
            ages.append(float(match[1]))
    return min(ages, default=None)
