"""operations.tsv and catalogue.toml -> Catalogue. A mistake in the data is a ValueError at start."""

import csv
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from gateway.model import Operation, Risk
from gateway.slurm_api.catalogue import Catalogue, Entry, PathParameter, QueryParameter
from gateway.slurm_api.kinds import KINDS, Kind
from gateway.slurm_api.versions import VersionRange

_NOTHING = "-"
_YES_NO = {"yes": True, "no": False}
_BODY = {"body": True, _NOTHING: False}


@dataclass(frozen=True, slots=True)
class Release:
    """Which Slurm releases serve an API version; `last` is empty while the newest one does."""

    version: int
    first: str
    last: str = ""
    deprecated: str = ""


def read_catalogue() -> Catalogue:
    """Read the packaged data; some ten milliseconds, so once per process."""
    return build_catalogue(_read("operations.tsv"), _read("catalogue.toml"))


def read_releases() -> tuple[Release, ...]:
    """The life of each API version, oldest first."""
    table = tomllib.loads(_read("catalogue.toml"))["versions"]
    return tuple(Release(int(version), **facts) for version, facts in table.items())


def build_catalogue(operations: str, references: str) -> Catalogue:
    """Join the two texts. Raises ValueError or KeyError for a row that refers to nothing."""
    tables = tomllib.loads(references)
    known = VersionRange(*_ends(int(version) for version in tables["versions"]))
    sets = {name: _query_set(table, known) for name, table in tables["query"].items()}
    kinds = {name: KINDS[kind] for name, kind in tables["path"].items()}
    rows = csv.DictReader(operations.splitlines(), delimiter="\t", strict=True)
    return Catalogue(_entry(row, sets, kinds) for row in rows)


def _read(name: str) -> str:
    return files("gateway.slurm_api").joinpath(name).read_text("ascii")


def _ends(numbers: Iterable[int]) -> tuple[int, int]:
    ordered = sorted(numbers)
    return ordered[0], ordered[-1]


def _entry(
    row: Mapping[str, str],
    sets: Mapping[str, tuple[QueryParameter, ...]],
    kinds: Mapping[str, Kind],
) -> Entry:
    template = row["path"].replace("*", "{version}")
    operation = Operation(
        method=row["method"],
        template=template,
        risk=Risk(row["risk"]),
        changes_state=_YES_NO[row["changes_state"]],
        takes_body=_BODY[row["body"]],
        summary=row["summary"],
    )
    versions = None
    if row["versions"] != _NOTHING:
        versions = VersionRange.parse_numbers(row["versions"])
    query = row["query"].removesuffix("!")
    return Entry(
        operation,
        versions,
        _path_parameter(template, kinds),
        () if query == _NOTHING else tuple(_query(query, versions, sets)),
        needs_condition=row["query"].endswith("!"),
    )


def _path_parameter(template: str, kinds: Mapping[str, Kind]) -> PathParameter | None:
    names = [part[1:-1] for part in template.split("/") if part.startswith("{")]
    match [name for name in names if name != "version"]:
        case []:
            return None
        case [name]:
            return PathParameter(name, kinds[name])
        case _:
            raise ValueError(f"{template} has more than one parameter")


def _query(
    text: str, versions: VersionRange | None, sets: Mapping[str, tuple[QueryParameter, ...]]
) -> Iterable[QueryParameter]:
    """Read "clusters+update" or "association@38-45": some sets, perhaps in some versions only."""
    if versions is None:
        raise ValueError("an unversioned operation takes no query")
    names, _, limit = text.partition("@")
    if limit:
        versions = VersionRange.parse_numbers(limit)
    for name in names.split("+"):
        for one in sets[name]:
            overlap = one.versions.overlap(versions)
            if overlap is not None:
                yield QueryParameter(one.name, one.kind, overlap, one.raises)


def _query_set(table: Mapping[str, Any], known: VersionRange) -> tuple[QueryParameter, ...]:
    return tuple(
        _query_parameter(name, rule, known)
        for name, rules in table.items()
        for rule in (rules if isinstance(rules, list) else [rules])
    )


def _query_parameter(
    name: str, rule: str | Mapping[str, str], known: VersionRange
) -> QueryParameter:
    if isinstance(rule, str):
        return QueryParameter(name, KINDS[rule], known)
    limit, raises = rule.get("versions"), rule.get("raises")
    return QueryParameter(
        name,
        KINDS[rule["kind"]],
        VersionRange.parse_numbers(limit) if limit else known,
        Risk(raises) if raises else None,
    )
