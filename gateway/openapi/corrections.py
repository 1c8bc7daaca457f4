"""corrections.toml, and a document -> the document, with what contradicts slurmrestd's answers mended.

Only the document is ever mended, never an answer. A correction that finds nothing to mend is no
error: releases differ, and the next one may have mended it itself.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from gateway.slurm_api.versions import VersionRange, version_text

_VERSION = "{version}"


@dataclass(frozen=True, slots=True)
class Correction:
    """One mend. `place` is a path of members below the document, `{version}` is each of `versions`.

    "*" is every member. `set` is laid over the object there, `drop` are members to take away.
    """

    versions: VersionRange
    place: tuple[str, ...]
    set: Mapping[str, Any]
    drop: tuple[str, ...]
    reason: str


def read_corrections() -> tuple[Correction, ...]:
    """The packaged table."""
    text = files("gateway.openapi").joinpath("corrections.toml").read_text("utf-8")
    return parse_corrections(text)


def parse_corrections(text: str) -> tuple[Correction, ...]:
    """Read a table. Raises ValueError or KeyError for a row that says nothing, or not why."""
    return tuple(
        one for row in tomllib.loads(text).get("correction", []) for one in _corrections(row)
    )


def _corrections(row: Mapping[str, Any]) -> Iterable[Correction]:
    """One for each place of a row."""
    if not row["reason"].strip() or not (row.get("set") or row.get("drop")):
        raise ValueError(f"{row['places']}: a correction says what it mends, and why")
    for place in row["places"]:
        yield Correction(
            versions=VersionRange.parse_numbers(row["versions"]),
            place=tuple(place.split(" ")),
            set=row.get("set", {}),
            drop=tuple(row.get("drop", ())),
            reason=row["reason"],
        )


def correct(document: dict[str, Any], corrections: Sequence[Correction]) -> None:
    """Mend the document in place."""
    for correction in corrections:
        for version in correction.versions:
            text = version_text(version)
            place = [step.replace(_VERSION, text) for step in correction.place]
            for holder in _find(document, place):
                _mend(holder, correction)


def _find(value: Any, place: Sequence[str]) -> list[dict[str, Any]]:
    """The objects at a place; none where the document has no such place."""
    found = [value]
    for step in place:
        found = [member for one in found for member in _members(one, step)]
    return [one for one in found if isinstance(one, dict)]


def _members(value: Any, step: str) -> list[Any]:
    if not isinstance(value, dict):
        return []
    if step == "*":
        return list(value.values())
    return [value[step]] if step in value else []


def _mend(holder: dict[str, Any], correction: Correction) -> None:
    for name in correction.drop:
        holder.pop(name, None)
    holder.update(deepcopy(dict(correction.set)))
