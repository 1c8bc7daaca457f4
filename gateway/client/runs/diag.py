"""`diag` -> what slurmctld says of its own work, as sdiag does in short."""

import json
from collections.abc import Mapping
from typing import Any

import click

from gateway.client.opening import open_cluster
from gateway.client.options import Options
from gateway.client.trouble import Exit
from gateway.client.values import moment, whole

_LINES = (
    ("Server thread count", "server_thread_count"),
    ("Agent queue size", "agent_queue_size"),
    ("DBD Agent queue size", "dbd_agent_queue_size"),
    ("Jobs submitted", "jobs_submitted"),
    ("Jobs started", "jobs_started"),
    ("Jobs completed", "jobs_completed"),
    ("Jobs canceled", "jobs_canceled"),
    ("Jobs failed", "jobs_failed"),
    ("Jobs pending", "jobs_pending"),
    ("Jobs running", "jobs_running"),
    ("Last cycle (µs)", "schedule_cycle_last"),
    ("Mean cycle (µs)", "schedule_cycle_mean"),
    ("Last queue length", "schedule_queue_length"),
    ("Backfilled jobs", "bf_backfilled_jobs"),
)


def run(options: Options) -> int:
    """0 where slurmctld answers."""
    with open_cluster(options) as cluster:
        content: Mapping[str, Any] = cluster.get("/diag").content
    found = content.get("statistics") or {}
    if options.as_json:
        click.echo(json.dumps(found, indent=2))
        return Exit.DONE
    click.echo(f"sdiag output at {moment(whole(found.get('req_time')))}")
    click.echo(f"Data since      {moment(whole(found.get('req_time_start')))}\n")
    for label, name in _LINES:
        if name in found:
            click.echo(f"{label + ':':<22}{whole(found[name])}")
    return Exit.DONE
