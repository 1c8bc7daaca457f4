"""The example of a submission, by API version."""

from typing import Any

import pytest

from gateway.openapi.submit_part import example, for_submission

BODY: dict[str, Any] = {"parameters": [], "requestBody": {"content": {"application/json": {}}}}


@pytest.mark.parametrize(
    ("version", "kind"), [(35, dict), (38, dict), (39, list), (42, list), (45, list)]
)
def test_the_environment_has_the_form_of_its_version(version: int, kind: type) -> None:
    assert isinstance(example(version)["job"]["environment"], kind)


@pytest.mark.parametrize(
    "path", ["/slurm/v0.0.42/job/{job_id}", "/slurm/v0.0.42/jobs", "/slurm/job/submit"]
)
def test_nothing_else_gets_an_example_or_a_header(path: str) -> None:
    assert for_submission(path, BODY, takes_keys=True) == BODY


def test_the_documented_operation_itself_is_not_changed() -> None:
    made = for_submission("/slurm/v0.0.42/job/submit", BODY, takes_keys=True)
    assert made != BODY
    assert BODY == {"parameters": [], "requestBody": {"content": {"application/json": {}}}}
