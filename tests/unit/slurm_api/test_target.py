"""The target that slurmrestd is sent, and what the client is told when there is none."""

import pytest

from gateway.denial import Denied, Reason
from gateway.model import Risk
from gateway.slurm_api import raised_risk, read_catalogue, write_target

CATALOGUE = read_catalogue()


@pytest.mark.parametrize("name", ["show_batch_script", "show_job_environment"])
@pytest.mark.parametrize("value", ["true", "false"])
def test_asking_for_a_script_or_an_environment_raises_the_class(name: str, value: str) -> None:
    match = CATALOGUE.match("GET", "/slurmdb/v0.0.40/jobs")
    assert match is not None
    assert raised_risk(match.found, ((name, value),)) is Risk.READ_SENSITIVE
    assert raised_risk(match.found, (("users", "alice"),)) is Risk.READ_HEAVY


TARGETS = [
    ("GET", "/slurm/v0.0.42/jobs", (), b"/slurm/v0.0.42/jobs"),
    ("GET", "/slurm/v0.0.42/job/1_2", (), b"/slurm/v0.0.42/job/1_2"),
    (
        "GET",
        "/slurm/v0.0.42/jobs",
        (("update_time", "0"), ("flags", "ALL,DETAIL")),
        b"/slurm/v0.0.42/jobs?flags=ALL&flags=DETAIL&update_time=0",
    ),
    (
        "GET",
        "/slurmdb/v0.0.42/jobs",
        (("node", "n[1-3,7],m"), ("start_time", "2026-01-31T12:00"), ("job_name", "a b+c@d=e:f")),
        (
            b"/slurmdb/v0.0.42/jobs?job_name=a%20b%2Bc%40d%3De%3Af&node=n%5B1-3%2C7%5D%2Cm"
            b"&start_time=2026-01-31T12%3A00"
        ),
    ),
    (
        "GET",
        "/slurmdb/v0.0.42/associations",
        (("Exclude parent id/name", "true"),),
        b"/slurmdb/v0.0.42/associations?Exclude%20parent%20id%2Fname=true",
    ),
    ("GET", "/slurmdb/v0.0.40/account/a+b:c", (), b"/slurmdb/v0.0.40/account/a%2Bb%3Ac"),
    ("GET", "/slurmdb/v0.0.38/jobs", (("state", "CD,F"),), b"/slurmdb/v0.0.38/jobs?state=CD%2CF"),
    (
        "GET",
        "/slurm/v0.0.45/job/7/requeue",
        (("Hold", "1"),),
        b"/slurm/v0.0.45/job/7/requeue?Hold=1",
    ),
    (
        "DELETE",
        "/slurmdb/v0.0.42/associations",
        (("user", "bob"),),
        b"/slurmdb/v0.0.42/associations?user=bob",
    ),
]


@pytest.mark.parametrize(("method", "path", "query", "written"), TARGETS)
def test_a_target_is_written_in_the_one_form_that_all_releases_read(
    method: str, path: str, query: tuple[tuple[str, str], ...], written: bytes
) -> None:
    match = CATALOGUE.match(method, path)
    assert match is not None
    assert write_target(match.found, match.value, query) == written


def test_the_client_is_told_which_parameter_is_wrong_and_which_are_known() -> None:
    match = CATALOGUE.match("GET", "/slurm/v0.0.37/jobs")
    assert match is not None
    with pytest.raises(Denied) as unlisted:
        write_target(match.found, match.value, (("flags", "ALL"),))
    assert unlisted.value.reason is Reason.QUERY_UNLISTED
    expected = "flags is not known for GET /slurm/*/jobs in v0.0.37. Known: update_time."
    assert unlisted.value.detail == expected
    with pytest.raises(Denied) as invalid:
        write_target(match.found, match.value, (("update_time", "soon<script>"),))
    assert invalid.value.detail.startswith("update_time must be a time:")
    assert "script" not in invalid.value.detail
    assert invalid.value.note.startswith("update_time: 12 characters that are not a time:")
    assert "script" not in invalid.value.note


def test_an_operation_on_everything_needs_a_condition() -> None:
    """24.11.5 and 26.05.5 removed every association of the cluster when none was given."""
    match = CATALOGUE.match("DELETE", "/slurmdb/v0.0.42/associations")
    assert match is not None
    with pytest.raises(Denied) as refusal:
        write_target(match.found, match.value, ())
    assert refusal.value.reason is Reason.PARAMETER_INVALID
