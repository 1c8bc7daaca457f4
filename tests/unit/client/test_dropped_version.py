"""A folder of job files across an upgrade of Slurm that drops the API version it was worked off in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client.trouble import Trouble
from tests.client_world import Told, problem, running_gateway
from tests.folder_world import SUBMIT, FolderGateway, answer_of, drop, names, work

JOB = "GET /slurm/v0.0.42/job/1"


@pytest.fixture
def site() -> Iterator[FolderGateway]:
    with running_gateway(FolderGateway) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "jobs"
    made.mkdir(mode=0o700)
    return made


NO_ADDRESS = Told(404, b"Unable find requested URL.", "text/plain")
"""As slurmrestd answers in an API version that it has no more; 26.05 has other words."""


def kept_request(folder: Path) -> dict[str, Any]:
    (file,) = (folder / ".slurm-gateway").glob("*.json")
    request: dict[str, Any] = json.loads(file.read_text())
    return request


def test_an_api_version_that_is_gone_stops_it_and_what_was_dropped_is_sent_in_another(
    site: FolderGateway, folder: Path
) -> None:
    """The key of the first try has its answer, and with another body it would be refused."""
    drop(folder, "a.sh", "b.sh")
    site.first = [NO_ADDRESS]
    with pytest.raises(Trouble, match="says 404") as raised:
        work(site.url, folder)
    assert (raised.value.status, raised.value.is_no_address) == (404, True)
    assert names(folder / "failed") == []
    assert names(folder / "running") == ["a.sh"]
    request = kept_request(folder)
    file = next((folder / ".slurm-gateway").glob("*.json"))
    file.write_text(json.dumps({**request, "version": "v0.0.40"}))
    assert work(site.url, folder) == 0
    sent = [one for one in site.heard if f"{one.method} {one.target}" == SUBMIT]
    assert len({one.headers["idempotency-key"] for one in sent}) == 3
    assert sorted(site.submissions()) == ["jobs-a.sh", "jobs-b.sh"]
    keys = {answer_of(folder / "done" / one)["idempotency_key"] for one in ("a.sh", "b.sh")}
    assert {f'"{key}"' for key in keys} == set(site.names)


def test_what_was_sent_without_an_answer_in_an_api_version_that_is_gone_is_asked_for_there_first(
    site: FolderGateway, folder: Path
) -> None:
    """The gateway would know of its job; that it asked slurmrestd means that there is none."""
    drop(folder, "a.sh")
    site.first = [problem("token-invalid", 401)]
    with pytest.raises(Trouble):
        work(site.url, folder)
    file = next((folder / ".slurm-gateway").glob("*.json"))
    file.write_text(json.dumps({**kept_request(folder), "version": "v0.0.40"}))
    assert work(site.url, folder) == 0
    sent = [one for one in site.targets() if one.startswith("POST")]
    assert sent == [SUBMIT, SUBMIT.replace("v0.0.42", "v0.0.40"), SUBMIT]
    assert site.submissions() == ["jobs-a.sh"]


def test_a_job_is_not_followed_for_ever_in_an_api_version_that_is_gone(
    site: FolderGateway, folder: Path
) -> None:
    drop(folder, "a.sh")
    site.tell(JOB, NO_ADDRESS)
    with pytest.raises(Trouble, match="says 404"):
        work(site.url, folder)
    assert names(folder / "running") == ["a.sh"]
    site.tell(JOB, Told(200, {"jobs": [{"job_id": 1, "job_state": ["COMPLETED"]}]}))
    assert work(site.url, folder) == 0
    assert site.submissions() == ["jobs-a.sh"]
