"""Rounds in front of the real Slurm: never more jobs than it has room for."""

from pathlib import Path

import pytest

from benchmarks.processes import ProcessTree
from benchmarks.scene import Backend
from soak.behind import Behind
from soak.submit_rates import CONNECTIONS, DURABILITIES, Round
from soak.submits import Subject, measure

BACKEND = Backend("slow", 1, "", "", "", "nobody", "unchecked", Path("key"))
LOADS_A_ROUND = len(CONNECTIONS) * 2 * len(DURABILITIES)


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
