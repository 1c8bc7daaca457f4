"""What the catalogue matches, what it holds, and that mistakes in its data stop the start."""

import pytest

from gateway.denial import Denied, Reason
from gateway.model import Risk
from gateway.slurm_api import Catalogue, Entry, VersionRange, read_catalogue, write_target
from gateway.slurm_api.reading import build_catalogue

CATALOGUE = read_catalogue()


@pytest.mark.parametrize(
    ("method", "path", "name", "value"),
    [
        ("GET", "/slurm/v0.0.42/jobs", "GET /slurm/*/jobs", ""),
        ("GET", "/slurm/v0.0.35/job/7", "GET /slurm/*/job/{job_id}", "7"),
        ("DELETE", "/slurm/v0.0.45/job/7_1", "DELETE /slurm/*/job/{job_id}", "7_1"),
        ("GET", "/slurm/v0.0.45/job/7/requeue", "GET /slurm/*/job/{job_id}/requeue", "7"),
        ("POST", "/slurm/v0.0.38/job/submit", "POST /slurm/*/job/submit", ""),
        ("GET", "/openapi", "GET /openapi", ""),
        ("GET", "/openapi/v3", "GET /openapi/v3", ""),
        ("GET", "/slurmdb/v0.0.41/user/alice", "GET /slurmdb/*/user/{name}", "alice"),
        ("POST", "/util/v0.0.44/hostlist", "POST /util/*/hostlist", ""),
    ],
)
def test_a_whole_path_names_one_operation(method: str, path: str, name: str, value: str) -> None:
    match = CATALOGUE.match(method, path)
    assert match is not None
    assert (match.found.entry.operation.name, match.value) == (name, value)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/slurm"),  # 20.11 and 22.05 answer with diag
        ("GET", "/slurmdb"),  # and with accounts
        ("GET", "/slurm/v0.0.42"),
        ("GET", "/slurm/v0.0.42/job"),
        ("GET", "/slurm/v0.0.42/job/"),
        ("GET", "/slurm/v0.0.42/job/submit"),  # a word of POST is no id
        ("POST", "/slurm/v0.0.38/job/allocate"),  # v0.0.41 and later only
        ("GET", "/slurm/v0.0.42/jobs/1"),
        ("GET", "/slurm/v0.0.42/job/1/2"),
        ("GET", "/slurm/v0.0.42/job/1/requeue"),  # v0.0.45 only
        ("GET", "/slurm/v0.0.45/job/1/requeue/"),
        ("GET", "/slurm/v0.0.45/job//requeue"),
        ("POST", "/slurm/v0.0.40/job/allocate/"),
        ("GET", "/Slurm/v0.0.42/jobs"),
        ("GET", "/slurm/V0.0.42/jobs"),
        ("GET", "/slurm/v0.0.042/jobs"),
        ("GET", "/slurm/v0.0.34/jobs"),
        ("GET", "/slurm/v0.0.46/jobs"),
        ("GET", "/slurm/*/jobs"),
        ("GET", "/slurm/{version}/jobs"),
        ("GET", "/slurmdb/v0.0.35/jobs"),
        ("GET", "/openapi/v2"),
        ("PUT", "/slurm/v0.0.42/job/1"),
        ("GET", "/healthz"),
        ("GET", "/metrics"),
    ],
)
def test_anything_else_names_nothing(method: str, path: str) -> None:
    assert CATALOGUE.match(method, path) is None


def test_the_braces_of_a_template_are_no_parameter_that_passes() -> None:
    match = CATALOGUE.match("GET", "/slurm/v0.0.42/job/{}")
    assert match is not None
    with pytest.raises(Denied) as refusal:
        write_target(match.found, match.value, ())
    assert refusal.value.reason is Reason.PARAMETER_INVALID


def test_gets_that_change_state_are_writes() -> None:
    changing = {e.operation.name: e.operation.risk for e in CATALOGUE.entries if changes_by_get(e)}
    assert changing == {
        "GET /slurm/*/job/{job_id}/requeue": Risk.JOB_WRITE,
        "GET /slurm/*/reconfigure": Risk.ADMIN,
    }


def changes_by_get(entry: Entry) -> bool:
    return entry.operation.method == "GET" and entry.operation.changes_state


def test_the_class_says_whether_state_changes() -> None:
    for entry in CATALOGUE.entries:
        operation = entry.operation
        reads = operation.risk.startswith("READ") or operation.risk is Risk.UTIL
        assert operation.changes_state is not reads, operation.name


def test_every_write_to_the_accounting_database_is_off_by_default() -> None:
    for entry in CATALOGUE.entries:
        operation = entry.operation
        if operation.template.startswith("/slurmdb/") and operation.changes_state:
            assert operation.risk in {Risk.ADMIN, Risk.ACCT_JOB_WRITE}, operation.name


def test_nothing_but_get_post_and_delete_is_listed() -> None:
    assert {entry.operation.method for entry in CATALOGUE.entries} == {"GET", "POST", "DELETE"}


def test_a_version_range_is_read_and_written() -> None:
    assert VersionRange.parse("v0.0.40-v0.0.45") == VersionRange(40, 45)
    assert str(VersionRange.parse("v0.0.40")) == "v0.0.40"
    for text in ("", "40", "v0.0.45-v0.0.40", "v0.0.40-", "v0.0.040", "v0.1.40", "v0.0.40-45"):
        with pytest.raises(ValueError, match=r"no range|ends before"):
            VersionRange.parse(text)


HEAD = "method\tpath\tversions\trisk\tchanges_state\tbody\tquery\tsummary\n"
ROW = "GET\t/slurm/*/jobs\t40-41\tREAD\tno\t-\t-\tJobs\n"
REFERENCES = (
    "[versions]\n40 = {first = '23.11'}\n41 = {first = '24.05'}\n[path]\n[query.x]\na = 'time'\n"
)


@pytest.mark.parametrize(
    "row",
    [
        ROW.replace("READ", "HARMLESS"),
        ROW.replace("\tno\t", "\tperhaps\t"),
        ROW.replace("40-41", "41-40"),
        ROW.replace("\t-\t-\t", "\t-\tunknown\t"),
        ROW.replace("/jobs", "/job/{job_id}"),
        ROW.replace("/jobs", "/{a}/{b}"),
        ROW.replace("40-41", "-").replace("\t-\tJobs", "\tx\tJobs"),
        ROW + ROW,
    ],
)
def test_a_mistake_in_the_data_stops_the_start(row: str) -> None:
    assert len(build_catalogue(HEAD + ROW, REFERENCES).entries) == 1
    with pytest.raises((ValueError, KeyError)):
        build_catalogue(HEAD + row, REFERENCES)


def test_the_catalogue_refuses_two_rows_for_one_call() -> None:
    with pytest.raises(ValueError, match="twice"):
        Catalogue([*CATALOGUE.entries, CATALOGUE.entries[0]])
