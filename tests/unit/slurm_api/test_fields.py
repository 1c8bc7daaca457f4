"""The table of fields beside the job descriptions of four real releases (extracts of their documents)."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway.slurm_api.fields import BULK, CAPPED, JOBS, PRIVILEGED, Kind, Name, folded, read_fields

DOCUMENTS = Path(__file__).parent / "data/job_fields.tsv"
FIELDS = read_fields()
FORMS = {
    "object": "object",
    "array": "list",
    "table": "table",
    "string": "plain",
    "integer": "plain",
    "boolean": "plain",
}


class Documented(NamedTuple):
    """One field in one version, as a release documents it."""

    release: str
    version: int
    group: str
    name: str
    type: str


def documented() -> Iterator[Documented]:
    with DOCUMENTS.open(encoding="ascii") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            for version in row["versions"].split(","):
                yield Documented(
                    row["release"], int(version), row["group"], row["name"], row["type"]
                )


ALL_DOCUMENTED = tuple(documented())


def rows_for(group: str, name: str, version: int) -> list[Name]:
    return [
        known
        for field in FIELDS.by_setting.values()
        if field.group == group
        for known in field.names
        if known.text == name and known.versions.covers(version)
    ]


@pytest.mark.parametrize("one", ALL_DOCUMENTED, ids=lambda one: "-".join(map(str, one)))
def test_a_field_of_a_real_release_stands_in_the_table_in_its_form(one: Documented) -> None:
    rows = rows_for(one.group, one.name, one.version)
    assert [row.form for row in rows] == [FORMS[one.type]]
    assert (rows[0].kind is Kind.FLAG) == (one.type == "boolean") or one.name == "oversubscribe"


def test_the_table_has_no_name_that_no_release_documents_but_those_it_marks() -> None:
    seen = {(one.group, one.name, one.version) for one in ALL_DOCUMENTED}
    listed = {
        (field.group, name.text, version)
        for field in FIELDS.by_setting.values()
        for name in field.names
        if name.form not in ("hidden", "refused")
        for version in name.versions
        if version != 39  # no packaged release has it
    }
    assert listed - seen == set()


def test_no_name_belongs_to_two_fields_of_a_group() -> None:
    for group in (JOBS, BULK):
        owners: dict[str, set[str]] = {}
        for field in FIELDS.by_setting.values():
            if field.group == group:
                for name in field.names:
                    owners.setdefault(folded(name.text), set()).add(field.field)
        assert {name: found for name, found in owners.items() if len(found) > 1} == {}


@pytest.mark.parametrize("setting", PRIVILEGED)
def test_what_is_refused_unless_permitted_is_a_field(setting: str) -> None:
    assert setting in FIELDS.by_setting


@pytest.mark.parametrize(
    ("setting", "version", "written"),
    [
        ("time_limit", 38, ("time_limit", "plain")),
        ("time_limit", 40, ("time_limit", "object")),
        ("nodes", 38, ("nodes", "list")),
        ("nodes", 42, ("nodes", "plain")),
        ("standard_output", 36, ("standard_out", "plain")),
        ("comment", 35, ("comment", "plain")),
    ],
)
def test_a_field_is_written_by_its_name_and_form_of_the_version(
    setting: str, version: int, written: tuple[str, str]
) -> None:
    name = FIELDS.by_setting[setting].written_in(version)
    assert name is not None
    assert (name.text, name.form) == written


def test_a_field_that_a_version_does_not_have_is_not_written() -> None:
    assert FIELDS.by_setting["admin_comment"].written_in(38) is None
    assert FIELDS.by_setting["reboot"].written_in(38) is None


@pytest.mark.parametrize("setting", ["time_limit", "nodes", "array", "nice", "priority"])
def test_what_can_be_capped_has_a_size(setting: str) -> None:
    assert FIELDS.by_setting[setting].kind in CAPPED
