"""So many submissions over several connections: exactly as many, and what fails is counted."""

import threading
from typing import cast

import pytest

from benchmarks.submits import ask_together
from benchmarks.wire import Answer, BadAnswerError, Connection


class Slurm:
    """Takes jobs from several connections, and refuses some."""

    def __init__(self, refused: int = 0, lost: int = 0) -> None:
        self.taken = 0
        self._refused, self._lost = refused, lost
        self._lock = threading.Lock()

    def connection(self) -> Connection:
        return cast("Connection", self)

    def ask(self, request: bytes) -> Answer:
        assert request == b"job"
        with self._lock:
            self.taken += 1
            if self.taken <= self._lost:
                raise BadAnswerError
            return Answer(500 if self.taken <= self._lost + self._refused else 200, 2)


@pytest.mark.parametrize("connections", [1, 3, 16])
def test_as_many_are_sent_as_were_asked_for_over_however_many_connections(connections: int) -> None:
    slurm = Slurm()
    samples, seconds = ask_together([slurm.connection()] * connections, b"job", 120)
    assert (slurm.taken, len(samples.seconds), samples.errors) == (120, 120, 0)
    assert seconds > 0


def test_refused_and_lost_submissions_are_errors() -> None:
    slurm = Slurm(refused=4, lost=3)
    samples, _ = ask_together([slurm.connection()] * 4, b"job", 20)
    assert (slurm.taken, samples.errors) == (20, 7)
