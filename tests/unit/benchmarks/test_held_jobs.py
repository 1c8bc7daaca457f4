"""Jobs of the real Slurm: counted, cancelled and waited for; and what slurmctld was asked meanwhile."""

import pytest

from benchmarks.held_jobs import (
    await_empty_list,
    clear_jobs,
    lists_asked_for,
    waiting_for_accounting,
)
from lab.processes import LabError
from lab.progress import Progress

SDIAG = "sdiag output at Sat\nServer thread count:  3\nDBD Agent queue size: {count}\n"


class Commands:
    """A cluster with held jobs, whose accounting takes its time to hear of them."""

    def __init__(self, jobs: int, untold: int = 0) -> None:
        self.jobs, self.untold = jobs, untold
        self.asked: list[str] = []

    def run(self, *command: str, user: str = "root", seconds: float = 60.0) -> str:
        self.asked.append(command[0])
        match command[0]:
            case "squeue":
                return "".join(f"{number}\n" for number in range(self.jobs))
            case "scancel":
                self.jobs = 0
                return ""
            case "sdiag":
                self.untold -= 1
                return SDIAG.format(count=self.untold)
        raise AssertionError(command)


def test_jobs_are_cancelled_and_accounting_has_heard_of_it() -> None:
    cluster = Commands(jobs=12, untold=3)
    clear_jobs(cluster, 10, "bench")
    assert (cluster.jobs, cluster.untold) == (0, 0)


def test_an_acknowledged_submission_without_a_job_ends_the_run() -> None:
    cluster = Commands(jobs=9)
    with pytest.raises(LabError, match="10 submissions were acknowledged, Slurm has 9 jobs"):
        clear_jobs(cluster, 10, "bench")
    assert "scancel" not in cluster.asked, "what is there stays to be looked at"


def test_where_no_job_is_nothing_is_cancelled() -> None:
    cluster = Commands(jobs=0)
    clear_jobs(cluster, 0, "bench")
    assert cluster.asked == ["squeue"]


def test_a_queue_that_sdiag_does_not_name_is_no_empty_queue() -> None:
    class Silent(Commands):
        def run(self, *command: str, user: str = "root", seconds: float = 60.0) -> str:
            return "Server thread count: 3"

    with pytest.raises(LabError, match="does not name"):
        waiting_for_accounting(Silent(0))


def test_a_list_is_waited_for_until_nothing_of_an_earlier_run_is_in_it() -> None:
    class Leaving(Commands):
        def run(self, *command: str, user: str = "root", seconds: float = 60.0) -> str:
            said = super().run(*command, user=user, seconds=seconds)
            self.jobs = max(0, self.jobs - 1)
            return said

    cluster = Leaving(jobs=2)
    await_empty_list(cluster, Progress("slurm"))
    assert cluster.asked == ["squeue"] * 3


TYPES = """\
Remote Procedure Call statistics by message type
	REQUEST_JOB_INFO                        ( 2003) count:41     ave_time:1042   total_time:42722
	REQUEST_JOB_INFO_SINGLE                 ( 2021) count:7      ave_time:2      total_time:14
"""


@pytest.mark.parametrize(("said", "count"), [(TYPES, 41), (TYPES.replace("_INFO  ", "_X"), 0)])
def test_questions_for_all_jobs_are_counted_by_slurmctld(said: str, count: int) -> None:
    class Telling(Commands):
        def run(self, *command: str, user: str = "root", seconds: float = 60.0) -> str:
            return said

    assert lists_asked_for(Telling(0)) == count
