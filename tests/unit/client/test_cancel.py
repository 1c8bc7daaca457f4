"""What is sent for the jobs that were chosen: those, and no others of their arrays."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.client.arrays import is_named, waiting_tasks
from gateway.client.cancelling import Pick, picked, targets
from gateway.client.job import read_job
from gateway.client.trouble import Trouble
from tests.client_world import ScriptedGateway, Told, scripted_gateway

DONE = Told(200, {"errors": [], "status": []})
GONE = Told(404, {"errors": [{"error": "Invalid job id specified", "error_number": 2017}]})
CUT = "1,3-4,8-10,15,22,24,26,29,33,37,39,44,48,51,55,57,62,66,69,7..."
"""As 20.11, 22.05, 24.11 and 26.05 cut it (measured)."""


def record(job_id: int, state: str = "PENDING", **members: Any) -> dict[str, Any]:
    common = {"name": "sweep", "user_name": "alice", "partition": "debug"}
    return {"job_id": job_id, "job_state": state.split(), **common, **members}


def waiting(tasks: str = "2-10") -> dict[str, Any]:
    return record(8, array_job_id=8, array_task_string=tasks)


def task(job_id: int, number: int, state: str = "RUNNING") -> dict[str, Any]:
    return record(job_id, state, array_job_id=8, array_task_id=number)


def component(job_id: int, offset: int) -> dict[str, Any]:
    return record(job_id, het_job_id=5, het_job_offset=offset)


@pytest.fixture
def site() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        yield made


class Canceller:
    """Somebody who types `cancel`."""

    def __init__(self, site: ScriptedGateway, home: Path) -> None:
        self._site = site
        self._home = home

    def type(self, *arguments: str, version: str = "v0.0.42") -> Result:
        environ = {
            "SLURM_GATEWAY_HOME": str(self._home),
            "SLURM_GATEWAY_URL": self._site.url,
            "SLURM_GATEWAY_TOKEN": "token-of-a-test",
            "SLURM_GATEWAY_API_VERSION": version,
        }
        return CliRunner().invoke(main, ["cancel", *arguments], env=environ)

    def tell_all(self, *ids: str, version: str = "v0.0.42") -> None:
        for one in ids:
            self._site.tell(f"DELETE /slurm/{version}/job/{one}", DONE)

    def tell_jobs(self, *records: dict[str, Any], version: str = "v0.0.42") -> None:
        self._site.tell(f"GET /slurm/{version}/jobs", Told(200, {"jobs": records}))

    def sent(self) -> list[str]:
        """What stands behind the last slash of each DELETE."""
        lines = [one for one in self._site.targets() if one.startswith("DELETE ")]
        return [one.rpartition("/")[2] for one in lines]


@pytest.fixture
def canceller(site: ScriptedGateway, tmp_path: Path) -> Canceller:
    return Canceller(site, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "records", "sent"),
    [
        (["-t", "PENDING"], [waiting("2-4%2"), task(9, 1)], ["8_2", "8_3", "8_4"]),
        (["-t", "PENDING"], [waiting("2-6:2")], ["8"]),
        (["-t", "RUNNING"], [waiting(), task(9, 1)], ["8_1"]),
        (["-n", "sweep"], [waiting(), task(9, 1)], ["8"]),
        (["-n", "sweep"], [waiting(CUT), task(9, 1)], ["8"]),
        (["-n", "sweep"], [task(8, 10), task(9, 1, "COMPLETED")], ["8"]),
        (["-t", "RUNNING"], [task(8, 10), task(9, 1, "SUSPENDED")], ["8_10"]),
        (["8_3", "-u", "alice"], [waiting(), task(9, 1)], ["8_3"]),
        (["8_3", "8_5", "-u", "alice"], [waiting(), task(9, 1)], ["8_3", "8_5"]),
        (["8_3", "-u", "alice"], [waiting(CUT), task(9, 1)], ["8_3"]),
        (["8", "-t", "RUNNING"], [waiting(), task(9, 1)], ["8_1"]),
        (["9", "-u", "alice"], [waiting(), task(9, 1)], ["8_1"]),
        (["5", "-u", "alice"], [component(5, 0), component(6, 1)], ["5"]),
        (["5+1", "-u", "alice"], [component(5, 0), component(6, 1)], ["6"]),
        (["-u", "alice"], [record(20, "CANCELLED COMPLETING"), record(21)], ["21"]),
        (["-u", "alice"], [record(20, "COMPLETING"), record(21)], ["21"]),
    ],
)
def test_what_was_chosen_is_cancelled_and_nothing_else_of_its_array(
    canceller: Canceller, arguments: list[str], records: list[dict[str, Any]], sent: list[str]
) -> None:
    canceller.tell_jobs(*records)
    canceller.tell_all(*sent)
    done = canceller.type(*arguments)
    assert (done.exit_code, done.output) == (0, "")
    assert canceller.sent() == sent


def test_a_part_that_slurm_does_not_tell_is_not_guessed_at(canceller: Canceller) -> None:
    canceller.tell_jobs(waiting(CUT), task(9, 1))
    done = canceller.type("-t", "PENDING")
    assert done.exit_code == 1
    assert "does not say all tasks" in done.stderr
    assert canceller.sent() == []


def test_an_id_that_fits_nothing_is_said(canceller: Canceller) -> None:
    canceller.tell_jobs(waiting("2,4"), record(20))
    canceller.tell_all("20")
    done = canceller.type("20", "8_3", "77", "-u", "alice")
    assert done.exit_code == 1
    assert canceller.sent() == ["20"]
    assert [line.partition(":")[2][:10] for line in done.stderr.splitlines()] == [
        " job 8_3: ",
        " job 77: t",
    ]


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (["8"], ["8", "9"]),
        (["8_1"], ["9"]),
        (["-n", "sweep"], ["8", "9"]),
        (["-t", "RUNNING"], ["9"]),
    ],
)
def test_v36_takes_numbers_alone(
    canceller: Canceller, site: ScriptedGateway, arguments: list[str], sent: list[str]
) -> None:
    """By the array's number 20.11 means one record of it, and 22.05 all of it: then the others are gone."""
    canceller.tell_jobs(waiting(), task(9, 1), version="v0.0.36")
    known = {"jobs": [waiting(), task(9, 1)]}
    site.tell("GET /slurm/v0.0.36/job/8", Told(200, known))
    canceller.tell_all("8", "9", version="v0.0.36")
    if len(sent) > 1:
        said = "_handle_job_delete: unable to kill job 9 with signal 9: Invalid job id specified"
        gone = Told(500, {"errors": [{"error": said, "error_code": 0}]})
        site.tell("DELETE /slurm/v0.0.36/job/9", gone)
        ended = {"jobs": [task(9, 1, "CANCELLED")]}
        site.tell("GET /slurm/v0.0.36/job/9", Told(200, ended))
    done = canceller.type(*arguments, version="v0.0.36")
    assert (done.exit_code, done.output) == (0, "")
    assert canceller.sent() == sent


@pytest.mark.parametrize("arguments", [["8_3"], ["-t", "PENDING"]])
def test_in_v36_a_part_of_an_array_that_waits_has_no_id(
    canceller: Canceller, site: ScriptedGateway, arguments: list[str]
) -> None:
    canceller.tell_jobs(waiting(), task(9, 1), version="v0.0.36")
    site.tell("GET /slurm/v0.0.36/job/8", Told(200, {"jobs": [waiting(), task(9, 1)]}))
    done = canceller.type(*arguments, version="v0.0.36")
    assert done.exit_code == 1
    assert "has no id for a part of the array 8" in done.stderr
    assert canceller.sent() == []


def test_a_component_is_cancelled_by_its_own_id(
    canceller: Canceller, site: ScriptedGateway
) -> None:
    known = {"jobs": [component(5, 0), component(6, 1)]}
    site.tell("GET /slurm/v0.0.42/job/5", Told(200, known))
    canceller.tell_all("6")
    assert canceller.type("5+1").exit_code == 0
    assert canceller.sent() == ["6"]
    done = canceller.type("5+7")
    assert done.exit_code == 1
    assert "job 5+7" in done.stderr


def refused(code: int) -> Told:
    return Told(200, {"status": [{"step_id": "8_1", "error": {"code": code, "string": "No"}}]})


@pytest.mark.parametrize(
    ("code", "arguments", "exit_code"),
    [
        (2021, ["8"], 0),
        (2021, ["8", "-s", "USR1"], 1),
        (2002, ["8"], 1),
        (2017, ["8"], 1),
        (2017, ["-n", "sweep"], 0),
        (2002, ["-n", "sweep"], 1),
    ],
)
def test_what_ends_already_is_cancelled_and_nothing_else_is_forgiven(
    canceller: Canceller, site: ScriptedGateway, code: int, arguments: list[str], exit_code: int
) -> None:
    canceller.tell_jobs(record(8))
    site.tell("DELETE /slurm/v0.0.42/job/8", refused(code))
    site.tell("GET /slurm/v0.0.42/job/8", GONE)
    done = canceller.type(*arguments)
    assert done.exit_code == exit_code, done.output


def test_an_unknown_id_of_a_job_that_lives_is_an_error(
    canceller: Canceller, site: ScriptedGateway
) -> None:
    canceller.tell_jobs(record(8))
    site.tell("DELETE /slurm/v0.0.42/job/8", refused(2017))
    site.tell("GET /slurm/v0.0.42/job/8", Told(200, {"jobs": [record(8)]}))
    assert canceller.type("-n", "sweep").exit_code == 1


@pytest.mark.parametrize(
    ("left", "exit_code"),
    [
        ([waiting("2,4-10"), task(9, 1)], 0),
        ([waiting("2-10"), task(9, 1)], 1),
        ([waiting(CUT)], 0),
        ([task(11, 3, "CANCELLED"), task(12, 4)], 0),
        ([task(11, 3), task(12, 4)], 1),
    ],
)
def test_where_slurm_says_nothing_the_task_is_looked_at_and_not_its_array(
    canceller: Canceller, site: ScriptedGateway, left: list[dict[str, Any]], exit_code: int
) -> None:
    canceller.tell_all("8_3", version="v0.0.40")
    site.tell("GET /slurm/v0.0.40/job/8", Told(200, {"jobs": left}))
    assert canceller.type("8_3", version="v0.0.40").exit_code == exit_code


@pytest.mark.parametrize(
    ("shown", "tasks"),
    [
        ("8_[2]", [2]),
        ("8_[1,3-5%2]", [1, 3, 4, 5]),
        ("8_[1-9:4%1]", [1, 5, 9]),
        ("8_[0-1,4,10-30:10]", [0, 1, 4, 10, 20, 30]),
    ],
)
def test_the_tasks_that_wait_are_read_as_slurm_writes_them(shown: str, tasks: list[int]) -> None:
    found = waiting_tasks(shown)
    assert found is not None
    assert list(found) == tasks
    assert tasks[-1] in found
    assert 7 not in found


@pytest.mark.parametrize("text", [CUT, "", "1-", "1--3", "x", "1-99999999", "1-3:0", "1 ,2"])
def test_tasks_that_are_not_all_told_are_none(text: str) -> None:
    with pytest.raises(Trouble, match="does not say all tasks"):
        waiting_tasks(f"8_[{text}]")


@pytest.mark.parametrize("shown", ["8", "8_3", "5+1"])
def test_what_is_no_record_of_waiting_tasks_has_none(shown: str) -> None:
    assert waiting_tasks(shown) is None


def test_millions_of_tasks_take_no_room() -> None:
    found = waiting_tasks("8_[0-4000000]")
    assert found is not None
    assert 3_999_999 in found
    assert len(json.dumps(found.ranges[0].stop)) < 10


def test_each_id_is_sent_once() -> None:
    jobs = [read_job(one) for one in (waiting(), task(9, 1))]
    picks, unmet = picked(["8", "8_1", "8", "9"], jobs)
    assert (targets(picks, jobs, takes_tasks=True), unmet) == (["8"], [])
    assert targets([Pick(jobs[1])], jobs, takes_tasks=True) == ["8_1"]


@pytest.mark.parametrize("typed", ["8", "8_3", "8_10"])
def test_a_task_that_waits_is_found_by_its_own_id(typed: str) -> None:
    assert is_named(read_job(waiting()), typed)
    assert not is_named(read_job(waiting("2,11")), "8_3")
