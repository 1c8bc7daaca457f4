"""Gateway (the configuration) -> a keyed hash of each setting, so that the audit can tell what changed."""

import hmac
import json
from collections.abc import Iterator, Mapping

from gateway.config.gateway import Gateway

_SHOWN_DIGITS = 16


def fingerprints(config: Gateway, key: bytes) -> dict[str, str]:
    """Setting -> 16 hexadecimal digits. Keyed, because a short value could be found by trying."""
    return {
        name: hmac.digest(key, json.dumps([name, value]).encode(), "sha256").hex()[:_SHOWN_DIGITS]
        for name, value in _settings("", config.model_dump(mode="json"))
    }


def _settings(place: str, members: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in members.items():
        here = f"{place}.{name}" if place else name
        if isinstance(value, dict) and value:
            yield from _settings(here, value)
        else:
            yield here, value


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, list[str]]:
    """Setting -> [hash before, hash after]; an empty one where it was not there."""
    names = sorted(before.keys() | after.keys())
    return {
        name: [before.get(name, ""), after.get(name, "")]
        for name in names
        if before.get(name) != after.get(name)
    }
