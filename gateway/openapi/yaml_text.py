"""A JSON value -> the same as YAML in block style, which every reader of YAML 1.1 or 1.2 reads alike.

Texts and names are always quoted, as in JSON: no "no", "1e3" or "0x10" can become something else.
"""

from collections.abc import Iterator
from typing import Any

import orjson

_STEP = "  "


def write_yaml(value: Any) -> bytes:
    """UTF-8."""
    return "".join(_block(value, "")).encode()


def _block(value: Any, indent: str) -> Iterator[str]:
    """Lines of one value that begins on a line of its own."""
    if isinstance(value, dict) and value:
        for name, member in value.items():
            yield f"{indent}{_scalar(name)}:"
            yield from _member(member, indent + _STEP)
    elif isinstance(value, list) and value:
        for item in value:
            yield f"{indent}-"
            yield from _member(item, indent + _STEP)
    else:
        yield f"{indent}{_scalar(value)}\n"


def _member(value: Any, indent: str) -> Iterator[str]:
    if value and isinstance(value, dict | list):
        yield "\n"
        yield from _block(value, indent)
    else:
        yield f" {_scalar(value)}\n"


def _scalar(value: Any) -> str:
    """JSON's form; the few characters that YAML does not take raw are escaped (YAML 1.2 section 5.1)."""
    text = orjson.dumps(value).decode()
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return f"\\U{ord(char):08x}"
