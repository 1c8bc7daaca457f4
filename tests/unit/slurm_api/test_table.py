"""What people read of the catalogue."""

from pathlib import Path

from gateway.model import Risk
from gateway.slurm_api import read_catalogue
from gateway.slurm_api.reading import read_releases
from gateway.slurm_api.table import MEANINGS, render_reference, render_table, select

PAGE = Path(__file__).parent.parent.parent.parent / "docs/reference/operations.md"
CATALOGUE = read_catalogue()


def test_the_table_can_be_narrowed_by_class_and_version() -> None:
    sensitive = {
        entry.operation.name for entry in select(CATALOGUE.entries, risk=Risk.READ_SENSITIVE)
    }
    assert {"GET /slurm/*/shares", "GET /slurmdb/*/jobs"} <= sensitive
    old = {
        entry.operation.name
        for entry in select(CATALOGUE.entries, risk=Risk.READ_SENSITIVE, version=38)
    }
    assert old == set()
    assert all(
        entry.versions is None or entry.versions.covers(35)
        for entry in select(CATALOGUE.entries, version=35)
    )


def test_the_table_has_a_line_for_each_operation() -> None:
    lines = render_table(CATALOGUE.entries).splitlines()
    assert len(lines) == len(CATALOGUE.entries) + 1
    assert lines[0].split() == ["CLASS", "OPERATION", "VERSIONS", "WHAT"]
    jobs = next(line for line in lines if " GET /slurmdb/*/jobs " in line)
    assert jobs.startswith("READ-HEAVY+")


def test_each_class_is_explained() -> None:
    assert [risk for risk, _ in MEANINGS] == list(Risk)


def test_the_reference_page_is_what_the_catalogue_says() -> None:
    assert PAGE.read_text("utf-8") == render_reference(CATALOGUE, read_releases())
