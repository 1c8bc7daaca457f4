"""Nested settings -> TOML text, as far as a gateway's configuration needs it, and settings laid over others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

Settings = Mapping[str, Any]


BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else _string(name)


def _string(text: str) -> str:
    """JSON's strings are TOML's too, but for surrogate pairs and a bare DEL (TOML 1.0, String)."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    """A value on one line."""
    match value:
        case dict():
            pairs = ", ".join(f"{_key(name)} = {_value(inner)}" for name, inner in value.items())
            return f"{{ {pairs} }}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case str():
            return _string(value)
        case bool() | int() | float():
            return json.dumps(value)
        case _:
            raise TypeError(f"{value!r} has no form in TOML here")


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _plain(table: Settings) -> Iterator[str]:
    for name, value in table.items():
        if not isinstance(value, dict) and not _is_tables(value):
            yield f"{_key(name)} = {_value(value)}"


def _lines(table: Settings, path: str) -> Iterator[str]:
    for name, value in table.items():
        inner = f"{path}.{_key(name)}" if path else _key(name)
        if isinstance(value, dict):
            own = list(_plain(value))
            yield from ["", f"[{inner}]", *own] if own or not value else []
            yield from _lines(value, inner)
        elif _is_tables(value):
            for row in value:
                # Tables inside a row stay on its line: their header would belong to the last row only by position.
                rows = [f"{_key(field)} = {_value(content)}" for field, content in row.items()]
                yield from ["", f"[[{inner}]]", *rows]


def to_toml(settings: Settings) -> str:
    """The text of a TOML file with these settings."""
    return "\n".join([*_plain(settings), *_lines(settings, "")]).lstrip("\n") + "\n"


def merged(below: Settings, above: Settings) -> dict[str, Any]:
    """Settings with others laid over them: tables are merged, everything else is replaced; None takes a key away."""
    result = dict(below)
    for name, value in above.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(result.get(name), Mapping):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result
