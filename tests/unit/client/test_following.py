"""A job that is followed: one task of an array is that task alone."""

from collections.abc import Iterator
from typing import Any

import pytest

from gateway.client.opening import Cluster
from gateway.client.runs.job import read_one
from gateway.client.runs.watch import watch
from gateway.client.trouble import Trouble
from tests.client_world import ScriptedGateway, Told, asked, scripted_gateway

JOB = "GET /slurm/v0.0.42/job/8"


@pytest.fixture
def site() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        yield made


@pytest.fixture
def cluster(site: ScriptedGateway) -> Iterator[Cluster]:
    with asked(site) as gateway:
        yield Cluster(gateway, "v0.0.42")


def task(job_id: int, number: int, state: str, code: int = 0) -> dict[str, Any]:
    ended = {"return_code": {"set": True, "number": code}}
    return {
        "job_id": job_id,
        "array_job_id": 8,
        "array_task_id": number,
        "job_state": [state],
        "exit_code": ended,
    }


def waiting(tasks: str, state: str = "PENDING") -> dict[str, Any]:
    return {"job_id": 8, "array_job_id": 8, "array_task_string": tasks, "job_state": [state]}


def test_the_end_of_one_task_is_not_that_of_another(
    site: ScriptedGateway, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [task(9, 3, "COMPLETED"), task(10, 4, "FAILED", 7), waiting("5-9")]
    site.tell(JOB, Told(200, {"jobs": jobs}))
    assert watch(cluster, "8_3", as_json=False) == 0
    assert watch(cluster, "8_4", as_json=False) == 7
    assert "8_[5-9]" not in capsys.readouterr().out


def test_a_task_that_waits_is_in_the_record_of_those_that_wait(
    site: ScriptedGateway, cluster: Cluster
) -> None:
    """Asked for 8_3 itself, 22.05 knows no such job while it waits."""
    site.tell(JOB, Told(200, {"jobs": [waiting("3-9"), task(9, 2, "RUNNING")]}))
    assert [job.shown_id for job in read_one(cluster, "8_3")] == ["8_[3-9]"]
    assert [job.shown_id for job in read_one(cluster, "8_2")] == ["8_2"]
    assert len(read_one(cluster, "8")) == 2
    with pytest.raises(Trouble, match="knows no job 8_1 any more"):
        read_one(cluster, "8_1")
    assert set(site.targets()) == {JOB}
