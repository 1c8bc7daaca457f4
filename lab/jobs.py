"""The jobs of one cluster, ended before its daemons go, so that nothing of theirs is left running."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from lab.layout import Layout
from lab.processes import LabError, descendants_of, end, executable_of, wait_until

FAREWELL_SECONDS = 10.0


def cancel_all(layout: Layout) -> None:
    """Cancel every job, the held and pending ones too, and wait for the running ones to end."""
    cancel = layout.command(["scancel", "--partition=debug"], "slurm")
    with contextlib.suppress(LabError, subprocess.TimeoutExpired):
        subprocess.run(cancel, capture_output=True, timeout=60, check=False)
        wait_until(lambda: not job_steps(layout), FAREWELL_SECONDS, "the jobs' end")


def job_steps(layout: Layout) -> list[int]:
    """The slurmstepd processes of this cluster, known by their root folder and their SLURM_CONF."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if not Path(executable_of(pid)).name.startswith("slurmstepd"):
            continue
        with contextlib.suppress(OSError):
            if _belongs(folder, layout):
                found.append(pid)
    return found


def _belongs(process: Path, layout: Layout) -> bool:
    if (process / "root").readlink() != layout.root.resolve():
        return False
    return f"SLURM_CONF={layout.configuration}".encode() in (
        process / "environ"
    ).read_bytes().split(b"\0")


def end_job_steps(layout: Layout) -> None:
    """Kill what the daemons left behind: a stepd outlives slurmd on purpose, and its job with it."""
    for stepd in job_steps(layout):
        for pid in [*descendants_of(stepd), stepd]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 0)
                end(pid, 3)
