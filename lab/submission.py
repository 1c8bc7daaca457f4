"""(REST version, script) -> the body of job/submit, and what answers say about a job, whatever the version."""

from __future__ import annotations

import pwd
from typing import Any

FINAL = frozenset(
    {
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "TIMEOUT",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "BOOT_FAIL",
        "DEADLINE",
    }
)
CANARY = "canary-9f2b7c41d8e65a03"
"""In every script, where no job minds it and nobody but Slurm may ever see it: tests search everything for it."""
_PATH = "/usr/local/bin:/usr/bin:/bin"
_FIRST_WITH_A_LIST = 40


def submission(
    api_version: str, script: str, *, name: str = "lab", output: str = "/dev/null", **job: Any
) -> dict[str, Any]:
    """A job that runs in /tmp, which every user may write to; more fields of the job as keywords."""
    is_list = int(api_version.rpartition(".")[2]) >= _FIRST_WITH_A_LIST
    fields = {
        "name": name,
        # Up to v0.0.38 a map, from v0.0.40 on a list (measured on 22.05 and 24.11).
        "environment": [f"PATH={_PATH}"] if is_list else {"PATH": _PATH},
        "current_working_directory": "/tmp",  # noqa: S108 - the job's, not ours
        "standard_output": output,
        **job,
    }
    return {"script": f"{script}\n# {CANARY}\n", "job": fields}


def state_of(job: dict[str, Any]) -> str:
    """The job's base state: a string up to v0.0.39, from v0.0.40 on a list that it leads."""
    state = job["job_state"]
    return str(state[0] if isinstance(state, list) else state)


def user_of(job: dict[str, Any]) -> str:
    """The Slurm user; 20.11 gives the number only. Users have one number everywhere in the lab."""
    return str(job["user_name"]) or pwd.getpwuid(int(job["user_id"])).pw_name


def exit_code_of(job: dict[str, Any]) -> int:
    """The exit code of the script: a wait status up to v0.0.39, later an object."""
    code = job["exit_code"]
    if isinstance(code, dict):
        return int(code["return_code"]["number"])
    return int(code) >> 8
