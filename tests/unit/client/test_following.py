"""A job that is followed: one task of an array is that task alone, and what slurmctld forgot the accounting has."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.client.following import Patience
from gateway.client.opening import Cluster
from gateway.client.runs.job import read_one
from gateway.client.runs.submit import _follow as follow_submitted
from gateway.client.runs.watch import watch
from gateway.client.trouble import Exit, Trouble
from tests.client_world import ScriptedGateway, Told, asked, problem, scripted_gateway

JOB, RECORDS = "GET /slurm/v0.0.42/job/8", "GET /slurmdb/v0.0.42/job/8"
RUNS = Told(200, {"jobs": [{"job_id": 8, "job_state": ["RUNNING"]}]})
AWAY = problem("upstream-unreachable", 502)
GONE = Told(404, {"errors": [{"error": "Invalid job id specified", "error_number": 2017}]})


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


def kept(state: str, code: int = 0, **more: Any) -> dict[str, Any]:
    ended = {"return_code": {"set": True, "number": code}}
    return {"job_id": 8, "name": "a", "state": {"current": [state]}, "exit_code": ended, **more}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.client.runs.watch.PATIENCE", Patience(0.0, 0.0, 0.3))


@pytest.mark.usefixtures("impatient")
def test_a_job_that_ended_while_the_gateway_was_away_has_the_accountings_code(
    site: ScriptedGateway, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    late = Told(200, {"jobs": [kept("RUNNING")]})
    for state, code in (("COMPLETED", 0), ("FAILED", 7)):
        site.tell(JOB, RUNS, AWAY, GONE)
        site.tell(RECORDS, late, AWAY, Told(200, {"jobs": [kept(state, code)]}))
        assert follow_submitted(cluster, 8, as_json=False) == code
        shown = capsys.readouterr()
        assert shown.out.endswith(f"job 8  {state}, exit code {code}:0, says the accounting\n")
        assert shown.err == ""


@pytest.mark.usefixtures("impatient")
def test_it_is_the_same_for_programs(
    site: ScriptedGateway, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    site.tell(JOB, RUNS, GONE)
    site.tell(RECORDS, Told(200, {"jobs": [kept("TIMEOUT")]}))
    assert watch(cluster, "8", as_json=True) == 1
    first, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["state"], last["state"], last["job_id"]) == ("RUNNING", "TIMEOUT", 8)
    assert last.keys() <= first.keys()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("told", "most_asked"),
    [
        (Told(200, {"jobs": []}), 10_000),
        (Told(200, {"jobs": [kept("RUNNING")]}), 10_000),
        (AWAY, 10_000),
        (problem("operation-unlisted", 403), 1),
        (Told(404, b"Unable find requested URL.", "text/plain"), 1),
    ],
    ids=["not kept", "no end", "away", "not allowed", "a cluster without accounting"],
)
def test_nobody_says_that_a_job_goes_on_which_slurmctld_has_forgotten(
    site: ScriptedGateway,
    cluster: Cluster,
    capsys: pytest.CaptureFixture[str],
    told: Told,
    most_asked: int,
) -> None:
    site.tell(JOB, GONE)
    site.tell(RECORDS, told)
    with pytest.raises(Trouble, match="knows no job 8 any more") as raised:
        follow_submitted(cluster, 8, as_json=False)
    assert raised.value.code is Exit.UNDECIDED
    assert site.targets().count(RECORDS) <= most_asked
    assert capsys.readouterr().err == ""
    site.tell(JOB, problem("token-expired", 401))
    with pytest.raises(Trouble):
        follow_submitted(cluster, 8, as_json=False)
    assert "Job 8 goes on" in capsys.readouterr().err


def test_a_job_that_nobody_has_seen_is_not_waited_for(
    site: ScriptedGateway, cluster: Cluster
) -> None:
    site.tell(JOB, GONE)
    for told in (Told(200, {"jobs": []}), problem("operation-unlisted", 403), AWAY):
        site.tell(RECORDS, told)
        with pytest.raises(Trouble, match="Invalid job id") as raised:
            watch(cluster, "8", as_json=False)
        assert raised.value.code is Exit.REFUSED_BY_SLURM
    site.tell(RECORDS, Told(200, {"jobs": [kept("COMPLETED")]}))
    assert watch(cluster, "8", as_json=False) == 0


@pytest.mark.usefixtures("impatient")
def test_of_an_array_that_was_forgotten_one_task_is_that_task(
    site: ScriptedGateway, cluster: Cluster
) -> None:
    site.tell(JOB, GONE)
    runs = [
        kept(state, code, array={"job_id": 8, "task_id": number})
        for number, (state, code) in enumerate([("FAILED", 7), ("COMPLETED", 0)])
    ]
    site.tell(RECORDS, Told(200, {"jobs": runs}))
    assert [watch(cluster, one, as_json=False) for one in ("8", "8_0", "8_1")] == [7, 7, 0]
