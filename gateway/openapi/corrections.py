"""corrections.toml, and a document -> the document, with what contradicts slurmrestd's answers mended.

Only the document is ever mended, never an answer. A correction that finds nothing to mend is no
error: releases differ, and the next one may have mended it itself.
"""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any

from gateway.slurm_api.versions import VersionRange, version_text

_VERSION = "{version}"
_ANY = "*"
_REFERENCE = "$ref"


@dataclass(frozen=True, slots=True)
class Correction:
    """One mend in each of `versions`; see corrections.toml for what its members mean."""

    versions: VersionRange
    measured: tuple[str, ...]
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
    if not row["reason"].strip() or not row["measured"] or not (row.get("set") or row.get("drop")):
        raise ValueError(f"{row['places']}: a correction says what it mends, why, and since when")
    for place in row["places"]:
        yield Correction(
            versions=VersionRange.parse_numbers(row["versions"]),
            measured=tuple(row["measured"]),
            place=(*row.get("below", "").split(), *place.split()),
            set=row.get("set", {}),
            drop=tuple(row.get("drop", ())),
            reason=row["reason"],
        )


def correct(document: dict[str, Any], corrections: Sequence[Correction]) -> None:
    """Mend the document in place."""
    for correction in corrections:
        for version in map(version_text, correction.versions):
            place = [step.replace(_VERSION, version) for step in correction.place]
            laid_over = _in_version(correction.set, version)
            for holder in _find(document, place):
                for name in correction.drop:
                    holder.pop(name, None)
                holder.update(deepcopy(laid_over))


def _in_version(value: Any, version: str) -> Any:
    if isinstance(value, str):
        return value.replace(_VERSION, version)
    if isinstance(value, Mapping):
        return {name: _in_version(member, version) for name, member in value.items()}
    return value


def _find(document: dict[str, Any], place: Sequence[str]) -> list[dict[str, Any]]:
    """The objects at a place; none where the document has no such place."""
    found: list[Any] = [document]
    for step in place:
        found = [member for one in found for member in _members(one, step)]
    return [one for one in found if isinstance(one, dict)]


def _members(value: Any, step: str) -> list[Any]:
    if not isinstance(value, dict):
        return []
    if _ANY not in step:
        return [value[step]] if step in value else []
    found = [member for name, member in value.items() if fnmatchcase(name, step)]
    return [one for one in found if not (isinstance(one, dict) and _REFERENCE in one)]
