"""The catalogue beside the OpenAPI documents of four real releases (small extracts of them)."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.slurm_api import Entry, VersionRange, read_catalogue
from gateway.slurm_api.reading import read_releases

DOCUMENTS = Path(__file__).parent / "data/openapi_documents.tsv"
CATALOGUE = read_catalogue()
KNOWN = VersionRange(35, 45)


class Documented(NamedTuple):
    """One operation in one version, as a release's own OpenAPI document has it."""

    release: str
    method: str
    path: str
    version: int | None
    body: bool
    deprecated: bool
    query: frozenset[str]


def documented() -> Iterator[Documented]:
    with DOCUMENTS.open(encoding="ascii") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            query = frozenset(row["query"].split(";")) - {"-"}
            versions = row["versions"].split(",")
            for version in (None if one == "-" else int(one) for one in versions):
                yield Documented(
                    row["release"],
                    row["method"],
                    row["path"].rstrip("/"),
                    version,
                    row["body"] == "body",
                    row["deprecated"] == "deprecated",
                    query,
                )


ALL_DOCUMENTED = tuple(documented())

_CLUSTER = frozenset(
    [
        "classification",
        "cluster",
        "federation",
        "flags",
        "rpc_version",
        "usage_end",
        "usage_start",
        "with_deleted",
        "with_usage",
    ]
)
_KILLS_20_11 = frozenset(["account", "cpus_max", "cpus_min", "format", "nodes_max", "nodes_min"])
_CONDITIONS = frozenset(
    ["account", "cluster", "default_qos", "id", "parent_account", "partition", "qos", "user"]
)


KILLING = {
    ("DELETE", "/slurmdb/*/association", 36),
    *{
        ("DELETE", f"/slurmdb/*/qos/{{{name}}}", number)
        for name in ("qos", "qos_name")
        for number in (36, 37)
    },
}
"""Every such request ended 20.11.4, and 22.05.8 where it is a QOS."""


def left_out(one: Documented) -> frozenset[str]:
    """What is documented and still not listed, because daemons were seen to refuse or die of it."""
    match one.method, one.path, one.version:
        case "GET", "/slurmdb/*/jobs", 36:
            return one.query & {"group", "users", *_KILLS_20_11}
        case "GET", "/slurmdb/*/jobs", 37 | 38:
            return frozenset({"group"})
        case "GET", "/slurmdb/*/wckeys", 40 | 41 | 42:
            return frozenset({"only_defaults", "usage_start"})
        case "DELETE", "/slurmdb/*/association" | "/slurmdb/*/associations", _:
            return one.query - _CONDITIONS
        case _:
            return frozenset()


def added(one: Documented) -> frozenset[str]:
    """What is not documented and still listed, because daemons were seen to read it."""
    match one.method, one.path, one.version:
        case "GET", "/slurmdb/*/jobs", 36 | 37 | 38:
            return frozenset({"groups"})
        case "GET", "/slurmdb/*/clusters", int(version) if version >= 40:
            return _CLUSTER if version == 45 else _CLUSTER | {"format"}
        case _:
            return frozenset()


def entry_for(method: str, path: str, version: int | None) -> Entry:
    """The entry that a documented path names; its parameter may have another name there."""
    text = path.replace("*", f"v0.0.{version}")
    before, brace, rest = text.partition("{")
    concrete = f"{before}1{rest.partition('}')[2]}" if brace else text
    match = CATALOGUE.match(method, concrete)
    assert match is not None, f"{method} {concrete} is not listed"
    return match.found.entry


def listed_query(entry: Entry, version: int | None) -> frozenset[str]:
    return frozenset(entry.query_in(version)) if version is not None else frozenset()


def kills(one: Documented) -> bool:
    return (one.method, one.path, one.version) in KILLING


@pytest.mark.parametrize(
    "one",
    [one for one in ALL_DOCUMENTED if not kills(one)],
    ids=lambda one: f"{one.release} {one.method} {one.path} {one.version}",
)
def test_an_operation_of_a_real_release_stands_in_the_catalogue(one: Documented) -> None:
    entry = entry_for(one.method, one.path, one.version)
    operation = entry.operation
    # 20.11.4 and 22.05.8 forget most bodies in their documents, 26.05.5 those of the newest POSTs.
    assert operation.takes_body == (one.body or one.method == "POST")
    expected = frozenset() if operation.takes_body else one.query - left_out(one) | added(one)
    assert listed_query(entry, one.version) == expected


def test_an_operation_that_ends_slurmrestd_whatever_it_is_given_is_not_listed() -> None:
    ending = [one for one in ALL_DOCUMENTED if kills(one)]
    assert {one.release for one in ending} == {"20.11.4", "22.05.8"}
    for one in ending:
        with pytest.raises(AssertionError, match="is not listed"):
            entry_for(one.method, one.path, one.version)


def test_the_catalogue_lists_nothing_that_no_release_was_seen_to_have() -> None:
    seen = {
        (entry_for(one.method, one.path, one.version).operation.name, one.version)
        for one in ALL_DOCUMENTED
        if not kills(one)
    }
    listed = {
        (entry.operation.name, version)
        for entry in CATALOGUE.entries
        for version in (entry.versions or [None])
    }
    unseen = {pair for pair in listed - seen if pair[1] != 39}  # no packaged release has v0.0.39
    # 25.05 serves this one in the older versions too; 24.11.5 and 26.05.5 do not.
    reservation = "DELETE /slurm/*/reservation/{reservation_name}"
    own = {("GET /gateway/user", None), ("POST /gateway/slurm-token", None)}  # no slurmrestd's
    assert unseen == {(reservation, 40), (reservation, 41), *own}


def test_the_deprecated_versions_are_those_that_the_releases_call_so() -> None:
    deprecated = {one.version: one.release for one in ALL_DOCUMENTED if one.deprecated}
    assert deprecated == {36: "22.05.8", 42: "26.05.5"}
    since = {release.version: release.deprecated for release in read_releases()}
    assert (since[36], since[42]) == ("22.05", "26.05")
    assert list(since) == list(KNOWN)
