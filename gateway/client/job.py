"""A job as slurmctld describes it in v0.0.36 to v0.0.45 -> one Job, with the words of squeue and scontrol."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.client.values import member, number, text, whole, words

SHORT = {
    "PENDING": "PD",
    "RUNNING": "R",
    "SUSPENDED": "S",
    "COMPLETED": "CD",
    "CANCELLED": "CA",
    "FAILED": "F",
    "TIMEOUT": "TO",
    "NODE_FAIL": "NF",
    "PREEMPTED": "PR",
    "BOOT_FAIL": "BF",
    "DEADLINE": "DL",
    "OUT_OF_MEMORY": "OOM",
    "COMPLETING": "CG",
    "CONFIGURING": "CF",
    "RESIZING": "RS",
    "REVOKED": "RV",
    "SPECIAL_EXIT": "SE",
    "REQUEUED": "RQ",
    "REQUEUE_HOLD": "RH",
    "REQUEUE_FED": "RF",
    "RESV_DEL_HOLD": "RD",
    "SIGNALING": "SI",
    "STAGE_OUT": "SO",
    "STOPPED": "ST",
}
"""States and their short forms, as in squeue(1)."""
LONG = {short: state for state, short in SHORT.items()}
LIVING = frozenset({"PENDING", "RUNNING", "SUSPENDED"})
"""The base states of a job that is not over. COMPLETING stands beside a base state that is."""
_PASSING = frozenset(
    {
        "COMPLETING",
        "CONFIGURING",
        "POWER_UP_NODE",
        "RECONFIG_FAIL",
        "REQUEUED",
        "REQUEUE_FED",
        "REQUEUE_HOLD",
    }
    | {
        "RESIZING",
        "RESV_DEL_HOLD",
        "SIGNALING",
        "SPECIAL_EXIT",
        "STAGE_OUT",
        "STOPPED",
        "UPDATE_DB",
    }
)
"""Words that stand beside a base state, and up to v0.0.39, which gives one word for a state, in its place.

What the base state is then shows only later: a job that has just ended with 0 is COMPLETING there (measured on 22.05).
"""
_SHOWN_FIRST = ("COMPLETING", "CONFIGURING", "RESIZING", "REQUEUED", "STAGE_OUT", "STOPPED")
_SIGNAL_BITS, _CODE_SHIFT = 0x7F, 8


@dataclass(frozen=True, slots=True)
class Job:
    """What users ask about a job. Times are seconds since 1970, 0 for none."""

    job_id: int
    shown_id: str
    name: str
    user: str
    user_id: int
    account: str
    partition: str
    state: str
    flags: tuple[str, ...]
    reason: str
    nodes: str
    node_count: int
    cpus: int
    priority: int
    qos: str
    submitted: int
    eligible: int
    started: int
    ended: int
    suspended: int
    """When it was last suspended or went on again; 0 for never."""
    ran_before_seconds: int
    """How long it had run by then."""
    limit_minutes: float | None
    exit_code: int
    exit_signal: int
    more: Mapping[str, str] = field(default_factory=dict)
    """Further members of `scontrol show job`, by their names there."""

    @property
    def shown_state(self) -> str:
        """The word that squeue prints: COMPLETING and its like go before the base state."""
        return next((one for one in _SHOWN_FIRST if one in self.flags), self.state)

    @property
    def is_over(self) -> bool:
        """Whether it will never run any more."""
        hidden = self.state in LIVING or self.state in _PASSING
        return not hidden and "COMPLETING" not in self.flags

    @property
    def is_listed(self) -> bool:
        """Whether squeue lists it without being asked for more."""
        return not self.is_over

    def elapsed_seconds(self, now: float) -> float:
        """How long it ran up to now, or in all, as squeue counts.

        An end to come is the one that the time limit allows, so that of one word which hides the base
        state (CONFIGURING, COMPLETING) either end is right.
        """
        if not self.started or self.state == "PENDING":
            return 0
        if self.state == "SUSPENDED":
            return self.ran_before_seconds
        is_open = self.state == "RUNNING" or not self.ended
        end = now if is_open else min(now, self.ended)
        since = self.suspended or self.started
        return max(0.0, end - since + self.ran_before_seconds)


def read_job(content: Mapping[str, Any]) -> Job:
    """One element of `jobs`."""
    states = words(content.get("job_state"))
    code, signal = read_exit(content.get("exit_code"))
    return Job(
        job_id=whole(content.get("job_id")),
        shown_id=_shown_id(content),
        name=text(content.get("name")),
        user=text(content.get("user_name")),
        user_id=whole(content.get("user_id"), -1),
        account=text(content.get("account")),
        partition=text(content.get("partition")),
        state=states[0] if states else "UNKNOWN",
        flags=(*states[1:], *words(content.get("job_state_flags"))),
        reason=text(content.get("state_reason")) or "None",
        nodes=text(content.get("nodes")),
        node_count=whole(content.get("node_count")),
        cpus=whole(content.get("cpus")),
        priority=whole(content.get("priority")),
        qos=text(content.get("qos")),
        submitted=whole(content.get("submit_time")),
        eligible=whole(content.get("eligible_time")),
        started=whole(content.get("start_time")),
        ended=whole(content.get("end_time")),
        suspended=whole(content.get("suspend_time")),
        ran_before_seconds=whole(content.get("pre_sus_time")),
        limit_minutes=_limit_minutes(content),
        exit_code=code,
        exit_signal=signal,
        more=_more(content),
    )


def _limit_minutes(content: Mapping[str, Any]) -> float | None:
    """No limit is null up to v0.0.38 (measured on 20.11 and 22.05)."""
    is_unlimited = "time_limit" in content and content["time_limit"] is None
    return math.inf if is_unlimited else number(content.get("time_limit"))


def read_exit(value: object) -> tuple[int, int]:
    """(exit code, signal): a wait status up to v0.0.38, later an object."""
    if isinstance(value, Mapping):
        signal = member(value, "signal", "id") or member(value, "signal", "signal_id")
        return whole(value.get("return_code")), whole(signal)
    status = whole(value)
    return status >> _CODE_SHIFT, status & _SIGNAL_BITS


def _shown_id(content: Mapping[str, Any]) -> str:
    """4, an array's 4_1 or 4_[2-10], a component's 5+1."""
    job_id = whole(content.get("job_id"))
    array, het = whole(content.get("array_job_id")), whole(content.get("het_job_id"))
    tasks, task = text(content.get("array_task_string")), number(content.get("array_task_id"))
    if array and tasks:
        return f"{array}_[{tasks}]"
    if array and task is not None and not math.isinf(task):
        return f"{array}_{int(task)}"
    return f"{het}+{whole(content.get('het_job_offset'))}" if het else str(job_id)


_MORE = {
    "Command": "command",
    "WorkDir": "current_working_directory",
    "StdErr": "standard_error",
    "StdIn": "standard_input",
    "StdOut": "standard_output",
    "Dependency": "dependency",
    "Features": "features",
    "Reservation": "resv_name",
    "ReqNodeList": "required_nodes",
    "ExcNodeList": "excluded_nodes",
    "TRES": "tres_req_str",
    "AllocTRES": "tres_alloc_str",
    "TresPerNode": "tres_per_node",
    "Comment": "comment",
    "BatchHost": "batch_host",
    "Container": "container",
    "Licenses": "licenses",
}


def _more(content: Mapping[str, Any]) -> dict[str, str]:
    found = {label: text(content.get(name)) for label, name in _MORE.items()}
    return {label: value for label, value in found.items() if value}
