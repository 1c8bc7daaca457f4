"""A job as slurmdbd describes it in v0.0.36 to v0.0.45 -> rows with the words of sacct."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.client.job import read_exit
from gateway.client.values import member, text, whole, words

_STATES_BY_REASON = {
    "None": "PENDING",
    "Priority": "RUNNING",
    "Dependency": "SUSPENDED",
    "Resources": "COMPLETED",
    "PartitionNodeLimit": "CANCELLED",
    "PartitionTimeLimit": "FAILED",
    "PartitionDown": "TIMEOUT",
    "PartitionInactive": "NODE_FAIL",
    "JobHeldAdmin": "PREEMPTED",
    "BeginTime": "BOOT_FAIL",
    "Licenses": "DEADLINE",
    "AssociationJobLimit": "OUT_OF_MEMORY",
}
"""20.11 prints the state's number as if it were a reason's (measured on 20.11.4)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line of sacct: a job, or one of its steps."""

    shown_id: str
    job_id: str
    """The job's own number, which a task or a component has too."""
    name: str
    user: str
    partition: str
    account: str
    cpus: int
    state: str
    exit_code: str
    """CODE:SIGNAL, empty where the release does not keep it right."""
    elapsed_seconds: int
    submitted: int
    started: int
    ended: int
    is_step: bool


def read_records(content: Mapping[str, Any]) -> list[Record]:
    """One element of `jobs`: the job, then its steps."""
    job_id = _job_id(content)
    account = text(content.get("account"))
    job = _record(content, job_id, text(content.get("name")), is_step=False)
    steps = [
        _record(
            {**step, "account": account, "job_id": content.get("job_id")},
            f"{job_id}.{_step_id(step)}",
            _step_name(step),
            is_step=True,
        )
        for step in content.get("steps") or []
    ]
    return [job, *steps]


def _record(content: Mapping[str, Any], shown_id: str, name: str, *, is_step: bool) -> Record:
    state = _state(content)
    times = content.get("time") or {}
    return Record(
        shown_id=shown_id,
        job_id=text(content.get("job_id")),
        name=name,
        user="" if is_step else text(content.get("user")),
        partition="" if is_step else text(content.get("partition")),
        account=text(content.get("account")),
        cpus=_cpus(content),
        state=state,
        exit_code=_exit(content, state),
        elapsed_seconds=whole(times.get("elapsed")),
        submitted=whole(times.get("submission")),
        started=whole(times.get("start")),
        ended=whole(times.get("end")),
        is_step=is_step,
    )


def _job_id(content: Mapping[str, Any]) -> str:
    array = whole(member(content, "array", "job_id"))
    task = member(content, "array", "task_id")
    number = task if isinstance(task, int) else member(task or {}, "number")
    is_task = isinstance(task, int) or bool(member(task or {}, "set"))
    if array and is_task:
        return f"{array}_{number}"
    het, offset = whole(member(content, "het", "job_id")), member(content, "het", "job_offset")
    return f"{het}+{whole(offset)}" if het else text(content.get("job_id"))


def _step_id(step: Mapping[str, Any]) -> str:
    """ "batch", 0; "4.batch" in newer versions."""
    return text(member(step, "step", "id")).rpartition(".")[2]


def _step_name(step: Mapping[str, Any]) -> str:
    return text(member(step, "step", "name"))


def _state(content: Mapping[str, Any]) -> str:
    found = content.get("state")
    current = found.get("current") if isinstance(found, Mapping) else found
    states = words(current)
    word = states[0] if states else "UNKNOWN"
    return _STATES_BY_REASON.get(word, word)


def _cpus(content: Mapping[str, Any]) -> int:
    for one in member(content, "tres", "allocated") or []:
        if one.get("type") == "cpu":
            return whole(one.get("count"))
    return 0


def _exit(content: Mapping[str, Any], state: str) -> str:
    """22.05 and 20.11 say SUCCESS of jobs that failed (measured): nothing is better than that."""
    found = content.get("exit_code") or {}
    code, signal = read_exit(found)
    is_success = "SUCCESS" in words(found.get("status"))
    return "" if is_success and state == "FAILED" else f"{code}:{signal}"
