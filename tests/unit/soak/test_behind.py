"""Jobs of the real Slurm: counted, cancelled, waited for, and never more than it has room for."""

from pathlib import Path

import pytest

from benchmarks.processes import ProcessTree
from benchmarks.scene import Backend
from soak.behind import Behind, clear_jobs, waiting_for_accounting
from soak.submit_rates import CONNECTIONS, DURABILITIES, Round
from soak.submits import Subject, measure

SDIAG = "sdiag output at Sat\nServer thread count:  3\nDBD Agent queue size: {count}\n"
BACKEND = Backend("slow", 1, "", "", "", "nobody", "unchecked", Path("key"))
LOADS_A_ROUND = len(CONNECTIONS) * 2 * len(DURABILITIES)


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
    clear_jobs(cluster, 10)
    assert (cluster.jobs, cluster.untold) == (0, 0)


def test_an_acknowledged_submission_without_a_job_ends_the_run() -> None:
    cluster = Commands(jobs=9)
    with pytest.raises(RuntimeError, match="10 submissions were acknowledged, Slurm has 9 jobs"):
        clear_jobs(cluster, 10)
    assert "scancel" not in cluster.asked, "what is there stays to be looked at"


def test_where_no_job_is_nothing_is_cancelled() -> None:
    cluster = Commands(jobs=0)
    clear_jobs(cluster, 0)
    assert cluster.asked == ["squeue"]


def test_a_queue_that_sdiag_does_not_name_is_no_empty_queue() -> None:
    class Silent(Commands):
        def run(self, *command: str, user: str = "root", seconds: float = 60.0) -> str:
            return "Server thread count: 3"

    with pytest.raises(RuntimeError, match="does not name"):
        waiting_for_accounting(Silent(0))


# ---- rounds


@pytest.mark.parametrize(
    ("most_jobs", "rounds"),
    [(10**9, 5), (0, 1), (3 * 90 + 2 * 12 * 90, 2), (3 * 90 + 2 * 12 * 90 - 1, 1)],
)
def test_rounds_end_before_slurm_is_full(most_jobs: int, rounds: int) -> None:
    """Each load makes 90 jobs: three warm the gateways up, and each round has twelve."""
    made, cleared = [0], list[int]()

    def load(subject: Subject, connections: int, *, with_key: bool) -> Round:
        made[0] += 90
        figures = (45.0, 1.0, 2.0, 300.0, 10, 100)  # a hundred answers, ten of them errors
        return Round("22.05", connections, with_key, subject.durability, *figures)

    three = [Subject("22.05", name, 1, "", ProcessTree(1)) for name in DURABILITIES]
    behind = Behind(BACKEND, most_jobs, cleared.append)
    measured = list(measure(behind, three, 5, load))
    assert len(measured) == rounds * LOADS_A_ROUND
    assert cleared == [3 * 90, *[LOADS_A_ROUND * 90] * rounds]
    assert sum(cleared) == made[0]
    firsts = [row.durability for row in measured[::LOADS_A_ROUND]]
    assert firsts == ["off", "buffered", "durable", "off", "buffered"][:rounds]
