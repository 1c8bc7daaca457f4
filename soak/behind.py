"""The name of a Slurm -> it runs behind the gateways, says what it has taken, and is cleared between rounds."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from benchmarks.identity import write_secret
from benchmarks.lineup import ordinary_user
from benchmarks.processes import free_port, running
from benchmarks.scene import Backend
from benchmarks.slurm import RELEASE, real_slurmrestd
from lab.processes import wait_until
from lab.slurm import SlurmRelease

SERIAL, PARALLEL, REAL = "serial", "parallel", "22.05"
SLURMS: Final = (SERIAL, PARALLEL, REAL)
"""One submission after the other, as slurmctld has it; as many at once as come, which no Slurm does; the real one."""
JOB_NAME: Final = "submits"
MOST_REAL_JOBS: Final = 40_000
"""Below the lab's MaxJobCount of 50,000: slurmctld counts a cancelled job for MinJobAge (300 s) more."""
_CLEARING_SECONDS: Final = 300.0
_NO_LIMIT: Final = sys.maxsize


class Behind(NamedTuple):
    """What the gateways are put in front of. `clear(count)`: away with `count` jobs, which must be there."""

    backend: Backend
    most_jobs: int
    clear: Callable[[int], None]


class Cluster(Protocol):
    """Where Slurm's own commands run."""

    def run(self, *command: str, user: str = "root", seconds: float = 60.0) -> str:
        """Return what the command prints. Raises LabError."""
        ...


@contextmanager
def slurm(name: str, folder: Path, answer_ms: float) -> Iterator[Behind]:
    """Until the end."""
    if name == REAL:
        release = SlurmRelease.named(RELEASE)
        with real_slurmrestd() as backend:
            clear_jobs(release, 0)  # of a run that was broken off
            yield Behind(backend, MOST_REAL_JOBS, lambda count: clear_jobs(release, count))
        return
    port, key_file = free_port(), folder / "jwt_hs256.key"
    write_secret(key_file, os.urandom(32))
    command = [sys.executable, "-m", "soak.slow_slurm", str(port), str(answer_ms), name]
    with running(command, port, folder / "slurm.log"):
        backend = Backend("slow", port, "", "", "", ordinary_user(), "unchecked", key_file)
        yield Behind(backend, _NO_LIMIT, lambda _: None)


def clear_jobs(release: Cluster, count: int) -> None:
    """Cancel the held jobs, of which there must be as many as were acknowledged. Raises RuntimeError, LabError."""
    there = len(release.run("squeue", "-h", "-t", "PD", "-n", JOB_NAME, "-o", "%i").split())
    if there < count:
        raise RuntimeError(f"{count} submissions were acknowledged, Slurm has {there} jobs")
    if there:
        release.run("scancel", "-t", "PD", "-n", JOB_NAME, seconds=_CLEARING_SECONDS)
        wait_until(lambda: waiting_for_accounting(release) == 0, _CLEARING_SECONDS, "accounting")


def waiting_for_accounting(release: Cluster) -> int:
    """How much slurmctld has still to tell slurmdbd; the telling takes processor time from who is measured next."""
    found = re.search(r"DBD Agent queue size:\s*(\d+)", release.run("sdiag"))
    if found is None:
        raise RuntimeError("sdiag does not name the queue to slurmdbd")
    return int(found[1])
