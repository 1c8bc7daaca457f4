"""(cluster, name of jobs) -> held jobs that have to be there, cancelled again, and what Slurm was asked meanwhile."""

import re
from typing import Final, Protocol

from lab.processes import LabError, wait_until
from lab.progress import Progress

_CLEARING_SECONDS: Final = 300.0
_LEAVING_SECONDS: Final = 600.0


class Cluster(Protocol):
    """Where Slurm's own commands run."""

    def run(self, *command: str, user: str = "root", seconds: float = 60.0) -> str:
        """Return what the command prints. Raises LabError."""
        ...


def clear_jobs(release: Cluster, count: int, name: str) -> None:
    """Cancel the held jobs, of which there must be as many as were acknowledged. Raises LabError."""
    there = len(release.run("squeue", "-h", "-t", "PD", "-n", name, "-o", "%i").split())
    if there < count:
        raise LabError(f"{count} submissions were acknowledged, Slurm has {there} jobs")
    if there:
        release.run("scancel", "-t", "PD", "-n", name, seconds=_CLEARING_SECONDS)
        wait_until(lambda: waiting_for_accounting(release) == 0, _CLEARING_SECONDS, "accounting")


def await_empty_list(release: Cluster, progress: Progress) -> None:
    """Let jobs that are over leave the lists, which slurmctld keeps them in for MinJobAge (300 s). Raises LabError."""
    if _listed(release):
        with progress.step("waiting for jobs that are over to leave the lists"):
            wait_until(lambda: not _listed(release), _LEAVING_SECONDS, "an empty list of jobs", 1.0)


def _listed(release: Cluster) -> int:
    return len(release.run("squeue", "-h", "-t", "all", "-o", "%i").split())


def waiting_for_accounting(release: Cluster) -> int:
    """How much slurmctld has still to tell slurmdbd; the telling takes processor time from who is measured next."""
    found = re.search(r"DBD Agent queue size:\s*(\d+)", release.run("sdiag"))
    if found is None:
        raise LabError("sdiag does not name the queue to slurmdbd")
    return int(found[1])


def lists_asked_for(release: Cluster) -> int:
    """How often slurmctld was asked for all jobs since it started (or since midnight UTC, when it forgets)."""
    found = re.search(r"^\s*REQUEST_JOB_INFO\s.*?count:(\d+)", release.run("sdiag"), re.MULTILINE)
    return int(found[1]) if found else 0
