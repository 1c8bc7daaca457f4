"""`jobs` -> the queue, as squeue prints it."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from gateway.client.choosing import Choice, chosen
from gateway.client.facts import job_facts
from gateway.client.job import SHORT, Job, read_job
from gateway.client.opening import Cluster, open_cluster
from gateway.client.options import Options
from gateway.client.own_name import with_own_name
from gateway.client.tables import print_table
from gateway.client.trouble import Exit, Trouble, printable
from gateway.client.values import duration, limit, moment

_FAILED = frozenset({"FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"})
DEFAULT = ("JOBID", "PARTITION", "NAME", "USER", "ST", "TIME", "NODES", "NODELIST(REASON)")
LONG_LISTING = (
    "JOBID",
    "PARTITION",
    "NAME",
    "USER",
    "STATE",
    "TIME",
    "TIME_LIMIT",
    "NODES",
    "NODELIST(REASON)",
)


def _where(job: Job) -> str:
    if job.state == "PENDING" or (job.state in _FAILED and job.reason != "None"):
        return f"({job.reason})"
    return job.nodes


def _left(job: Job, now: float) -> str:
    if job.limit_minutes is None or job.limit_minutes == float("inf"):
        return limit(job.limit_minutes)
    return duration(job.limit_minutes * 60 - job.elapsed_seconds(now))


Cell = Callable[[Job, float], str]
CELLS: Mapping[str, Cell] = {
    "JOBID": lambda job, _: job.shown_id,
    "PARTITION": lambda job, _: job.partition,
    "NAME": lambda job, _: job.name,
    "USER": lambda job, _: job.user or str(job.user_id),
    "ST": lambda job, _: SHORT.get(job.shown_state, job.shown_state[:2]),
    "STATE": lambda job, _: job.shown_state,
    "TIME": lambda job, now: duration(job.elapsed_seconds(now)),
    "TIME_LIMIT": lambda job, _: limit(job.limit_minutes),
    "TIME_LEFT": _left,
    "NODES": lambda job, _: str(job.node_count),
    "CPUS": lambda job, _: str(job.cpus),
    "NODELIST": lambda job, _: job.nodes,
    "NODELIST(REASON)": lambda job, _: _where(job),
    "REASON": lambda job, _: job.reason,
    "ACCOUNT": lambda job, _: job.account,
    "QOS": lambda job, _: job.qos,
    "PRIORITY": lambda job, _: str(job.priority),
    "SUBMIT_TIME": lambda job, _: moment(job.submitted),
    "START_TIME": lambda job, _: moment(job.started),
    "END_TIME": lambda job, _: moment(job.ended),
    "WORK_DIR": lambda job, _: job.more.get("WorkDir", ""),
    "COMMENT": lambda job, _: job.more.get("Comment", ""),
}


def run(
    options: Options,
    choice: Choice,
    *,
    mine: bool,
    is_long: bool,
    columns: str | None,
    heading: bool,
) -> int:
    """0, also for an empty queue."""
    shown = _columns(columns) if columns else LONG_LISTING if is_long else DEFAULT
    with open_cluster(options) as cluster:
        wanted = with_own_name(cluster.gateway, choice) if mine else choice
        found = chosen(read_jobs(cluster), wanted)
    if options.as_json:
        click.echo(json.dumps([job_facts(job) for job in found], indent=2))
        return Exit.DONE
    now = time.time()
    rows = [[CELLS[column](job, now) for column in shown] for job in found]
    print_table(shown, rows, heading=heading)
    return Exit.DONE


def read_jobs(cluster: Cluster) -> list[Job]:
    """All that slurmctld holds. Raises Trouble."""
    content: Mapping[str, Any] = cluster.get("/jobs").content
    return [read_job(one) for one in content.get("jobs") or []]


def _columns(typed: str) -> Sequence[str]:
    wanted = [word.strip().upper() for word in typed.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in CELLS]
    if unknown or not wanted:
        raise Trouble(
            Exit.WRONG_CALL,
            f"There is no column {printable(', '.join(unknown)) or 'in an empty list'}.",
            f"there are: {', '.join(CELLS)}",
        )
    return wanted
