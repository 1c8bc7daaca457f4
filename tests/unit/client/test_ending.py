"""How a job ended, where slurmctld has forgotten it and the accounting is late, away or of many words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.client.folder.ending import Silence, how_it_ended
from gateway.client.opening import Cluster
from gateway.client.trouble import Exit, Trouble
from tests.client_world import ScriptedGateway, Told, asked, problem, running_gateway
from tests.folder_world import FolderGateway, drop, work

VERSION = "v0.0.42"
JOB, RECORDS = f"GET /slurm/{VERSION}/job/8", f"GET /slurmdb/{VERSION}/job/8"
GONE = Told(404, {"errors": [{"error": "Invalid job id specified", "error_number": 2017}]})
AWAY = {"errors": [{"error": "Unable to connect to database", "error_number": 7000}], "jobs": []}
SLURMDBD_AWAY = [Told(502, AWAY), Told(500, AWAY), Told(200, AWAY)]
"""As 24.11 and 26.05, 23.02, and 22.05 say it."""


@pytest.fixture
def site() -> Iterator[FolderGateway]:
    with running_gateway(FolderGateway) as made:
        yield made


def ended(site: ScriptedGateway, version: str = VERSION) -> Any:
    """(state, code, is good, error), or the code of the trouble."""
    with asked(site) as gateway:
        found = how_it_ended(Cluster(gateway, version), 8)
    return found and (found.state, found.exit_code, found.is_good, bool(found.error))


def task(number: int, state: str = "COMPLETED") -> dict[str, Any]:
    return {"job_id": 8, "array_job_id": 8, "array_task_id": number, "job_state": [state]}


def run(number: int, *states: str, submitted: int = 100, code: int = 0) -> dict[str, Any]:
    return {
        "job_id": 8,
        "array": {"job_id": 8, "task_id": {"set": True, "number": number}},
        "state": {"current": list(states)},
        "exit_code": {"return_code": {"set": True, "number": code}},
        "time": {"submission": submitted},
    }


@pytest.mark.parametrize(
    "first",
    [
        run(1, "NODE_FAIL"),
        run(1, "PENDING", "REQUEUED"),
        run(1, "REQUEUED"),
        run(1, "1024"),
        run(1, "FAILED", code=3),
    ],
    ids=["node failed", "24.11", "22.05", "20.11", "failed"],
)
@pytest.mark.parametrize("is_forgotten", [False, True])
def test_of_a_task_that_was_requeued_the_last_run_counts(
    site: FolderGateway, first: dict[str, Any], *, is_forgotten: bool
) -> None:
    """The accounting has a record for each run, and none of them is the job's end but the last."""
    last, other = run(1, "COMPLETED", submitted=200), run(2, "COMPLETED")
    site.tell(JOB, GONE if is_forgotten else Told(200, {"jobs": [task(1), task(2)]}))
    for records in ([first, last, other], [other, last, first]):
        site.tell(RECORDS, Told(200, {"jobs": records}))
        assert ended(site) == ("COMPLETED", 0, True, False)
    site.tell(RECORDS, Told(200, {"jobs": [run(3, "COMPLETED"), run(3, "FAILED", submitted=200)]}))
    assert ended(site) == ("FAILED", 1, False, False)


def test_of_tasks_that_slurmctld_has_its_own_word_counts(site: FolderGateway) -> None:
    site.tell(JOB, Told(200, {"jobs": [task(1), task(2)]}))
    site.tell(RECORDS, Told(200, {"jobs": [run(1, "FAILED"), run(2, "COMPLETED")]}))
    assert ended(site) == ("COMPLETED", 0, True, False)


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_an_older_job_with_the_arrays_number_is_none_of_its_tasks(
    site: FolderGateway, *, is_forgotten: bool
) -> None:
    """slurmctld counts from the beginning where it has lost its state; the accounting keeps what was."""
    older = run(1, "CANCELLED", submitted=50) | {"array": {}}
    site.tell(JOB, GONE if is_forgotten else Told(200, {"jobs": [task(1), task(2)]}))
    records = [older, run(1, "COMPLETED"), run(2, "COMPLETED")]
    site.tell(RECORDS, Told(200, {"jobs": records}))
    assert ended(site) == ("COMPLETED", 0, True, False)
    site.tell(
        RECORDS,
        Told(200, {"jobs": [run(1, "FAILED", submitted=50), older | {"time": {"submission": 90}}]}),
    )
    site.tell(JOB, GONE)
    assert ended(site) == ("CANCELLED", 1, False, False)


def test_a_gateway_that_is_away_when_the_accounting_is_asked_is_no_good_end(
    site: FolderGateway,
) -> None:
    site.tell(JOB, Told(200, {"jobs": [task(2)]}))
    site.tell(RECORDS, problem("slurm-unavailable", 503))
    with pytest.raises(Trouble) as raised:
        ended(site)
    assert raised.value.code is Exit.UNAVAILABLE
    assert not isinstance(raised.value, Silence)


@pytest.mark.parametrize("away", SLURMDBD_AWAY, ids=["502", "500", "200"])
@pytest.mark.parametrize("is_forgotten", [False, True])
def test_a_slurmdbd_that_is_away_is_no_word_on_the_job(
    site: FolderGateway, away: Told, *, is_forgotten: bool
) -> None:
    site.tell(JOB, GONE if is_forgotten else Told(200, {"jobs": [task(2)]}))
    site.tell(RECORDS, away)
    with pytest.raises(Silence, match="Unable to connect to database") as raised:
        ended(site)
    assert raised.value.otherwise.is_good is not is_forgotten


@pytest.mark.parametrize(
    "records",
    [[], [run(1, "RUNNING")], [run(1, "COMPLETED"), run(2, "PENDING")], [run(1, "REQUEUED")]],
)
def test_an_accounting_that_is_late_is_asked_again(
    site: FolderGateway, records: list[dict[str, Any]]
) -> None:
    site.tell(JOB, GONE)
    site.tell(RECORDS, Told(200, {"jobs": records}))
    with pytest.raises(Silence, match="no end of it yet"):
        ended(site)


def test_v36_has_no_number_for_a_job_that_it_does_not_know(site: FolderGateway) -> None:
    said = {"errors": [{"error": "_handle_job_get: unknown job 8", "error_code": 0}], "jobs": []}
    site.tell("GET /slurm/v0.0.36/job/8", Told(500, said))
    kept = {"job_id": 8, "state": {"current": "Resources"}, "exit_code": {"return_code": 0}}
    site.tell("GET /slurmdb/v0.0.36/job/8", Told(200, {"jobs": [kept]}))
    assert ended(site, "v0.0.36") == ("COMPLETED", 0, True, False)


def test_a_requeued_run_of_another_job_is_not_this_jobs_end(site: FolderGateway) -> None:
    """20.11 answers with such ones whatever job is asked for."""
    site.tell(JOB, GONE)
    other = {"job_id": 5, "array": {"job_id": 0}, "state": {"current": "1024"}}
    own = {"job_id": 8, "state": {"current": "COMPLETED"}, "exit_code": {"return_code": 0}}
    site.tell(RECORDS, Told(200, {"jobs": [other, own, {**other, "job_id": 9}]}))
    assert ended(site) == ("COMPLETED", 0, True, False)


@pytest.mark.parametrize(
    ("last", "place"),
    [
        (Told(200, {"jobs": [{"job_id": 1, "state": {"current": ["COMPLETED"]}}]}), "done"),
        (Told(502, AWAY), "failed"),
    ],
    ids=["back", "away for ever"],
)
def test_a_slurmdbd_is_waited_for_and_not_for_ever(
    site: FolderGateway, tmp_path: Path, last: Told, place: str
) -> None:
    drop(tmp_path / "jobs", "a.sh")
    (tmp_path / "jobs").chmod(0o700)
    site.tell(f"GET /slurm/{VERSION}/job/1", GONE)
    late = Told(200, {"jobs": []})
    site.tell(f"GET /slurmdb/{VERSION}/job/1", Told(502, AWAY), late, late, last)
    said: list[str] = []
    assert work(site.url, tmp_path / "jobs", lambda _, what: said.append(what)) in (0, 1)
    assert (tmp_path / "jobs" / place / "a.sh").exists()
    assert next(one for one in said if one.startswith("waits")).endswith("database (7000).")
    asked_for = site.targets().count(f"GET /slurmdb/{VERSION}/job/1")
    assert asked_for == 4 if place == "done" else 20 < asked_for < 100
