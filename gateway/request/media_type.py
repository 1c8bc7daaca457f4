"""Accept and Content-Type -> the one media type that every slurmrestd reads in the same way.

Measured on Slurm 20.11 to 26.05: a Content-Type must be exactly application/json or
application/x-yaml (a charset makes it an error), and an Accept of application/* or text/html is
refused. application/yaml is known from 24.11 on, application/x-yaml everywhere.
"""

import re
from typing import Final

JSON: Final = "application/json"
YAML: Final = "application/x-yaml"

_YAML_NAMES: Final = frozenset({"application/x-yaml", "application/yaml", "text/yaml"})
_TOKEN: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105  # the grammar's word for it
_RANGE: Final = re.compile(rf"{_TOKEN}/{_TOKEN}")
_PARAMETER: Final = re.compile(rf'({_TOKEN})=({_TOKEN}|"[ !#-\[\]-~]*")')
_QUALITY: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii"})


def answer_type(accept: bytes) -> str | None:
    """What to ask slurmrestd for, JSON where the caller has no other wish; None if neither will do.

    `accept` is the joined Accept fields, empty if there are none (RFC 9110 section 12.5.1). A
    member that cannot be read counts for nothing.
    """
    text = accept.decode("latin-1").strip(" \t").lower()
    if not text:
        return JSON
    wishes: dict[str, float] = {}
    for member in text.split(","):
        wish = _wish(member)
        if wish is not None:
            wishes[wish[0]] = max(wish[1], wishes.get(wish[0], 0.0))
    json = _quality(wishes, frozenset({JSON}), "application")
    yaml = _quality(wishes, _YAML_NAMES, "application")
    if not json and not yaml:
        return None
    return JSON if json >= yaml else YAML


def _wish(member: str) -> tuple[str, float] | None:
    name, *parameters = [part.strip(" \t") for part in member.split(";")]
    if not _RANGE.fullmatch(name):
        return None
    for parameter in parameters:
        if parameter.startswith("q="):
            quality = parameter.removeprefix("q=")
            return (name, float(quality)) if _QUALITY.fullmatch(quality) else None
    return name, 1.0


def _quality(wishes: dict[str, float], names: frozenset[str], family: str) -> float:
    """The most specific range decides, whatever its place (RFC 9110 section 12.5.1)."""
    named = [wishes[name] for name in names if name in wishes]
    if named:
        return max(named)
    return wishes.get(f"{family}/*", wishes.get("*/*", 0.0))


def body_type(content_type: bytes) -> str | None:
    """JSON or YAML; None for anything else, or for a charset that is not UTF-8.

    Parameters are checked and then dropped, because slurmrestd refuses every one of them.
    """
    name, *parameters = content_type.decode("latin-1").split(";")
    if not all(_is_harmless(parameter.strip(" \t")) for parameter in parameters):
        return None
    name = name.strip(" \t").lower()
    if name == JSON:
        return JSON
    return YAML if name in _YAML_NAMES else None


def _is_harmless(parameter: str) -> bool:
    if not parameter:
        return True
    match = _PARAMETER.fullmatch(parameter)
    if not match:
        return False
    return match[1].lower() != "charset" or match[2].strip('"').lower() in _CHARSETS
