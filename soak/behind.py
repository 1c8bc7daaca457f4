"""The name of a Slurm -> it runs behind the gateways, says what it has taken, and is cleared between rounds."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.held_jobs import clear_jobs
from benchmarks.identity import write_secret
from benchmarks.lineup import ordinary_user
from benchmarks.processes import running
from benchmarks.scene import Backend
from benchmarks.slurm import RELEASE, real_slurmrestd
from lab.ports import free_port
from lab.slurm import SlurmRelease

SERIAL, PARALLEL, REAL = "serial", "parallel", "22.05"
SLURMS: Final = (SERIAL, PARALLEL, REAL)
"""One submission after the other, as slurmctld has it; as many at once as come, which no Slurm does; the real one."""
JOB_NAME: Final = "submits"
MOST_REAL_JOBS: Final = 40_000
"""Below the lab's MaxJobCount of 50,000: slurmctld counts a cancelled job for MinJobAge (300 s) more."""
_NO_LIMIT: Final = sys.maxsize


class Behind(NamedTuple):
    """What the gateways are put in front of. `clear(count)`: away with `count` jobs, which must be there."""

    backend: Backend
    most_jobs: int
    clear: Callable[[int], None]


@contextmanager
def slurm(name: str, folder: Path, answer_ms: float) -> Iterator[Behind]:
    """Until the end."""
    if name == REAL:
        release = SlurmRelease.named(RELEASE)
        with real_slurmrestd() as backend:
            clear_jobs(release, 0, JOB_NAME)  # of a run that was broken off
            yield Behind(
                backend, MOST_REAL_JOBS, lambda count: clear_jobs(release, count, JOB_NAME)
            )
        return
    port, key_file = free_port(), folder / "jwt_hs256.key"
    write_secret(key_file, os.urandom(32))
    command = [sys.executable, "-m", "soak.slow_slurm", str(port), str(answer_ms), name]
    with running(command, port, folder / "slurm.log"):
        backend = Backend("slow", port, "", "", "", ordinary_user(), "unchecked", key_file)
        yield Behind(backend, _NO_LIMIT, lambda _: None)
