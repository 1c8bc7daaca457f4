"""`watch ID` -> one line for each change of a job's state, and the job's own exit code."""

import json
import sys
import time
from typing import Any

import click

from gateway.client.accounting import code_of
from gateway.client.choosing import check_id
from gateway.client.facts import job_facts
from gateway.client.following import Patience, ended_runs, exit_code, follow, look_up
from gateway.client.job import Job
from gateway.client.opening import Cluster, open_cluster
from gateway.client.options import Options
from gateway.client.record import Record
from gateway.client.refusals import is_gone
from gateway.client.trouble import Exit, Trouble, printable
from gateway.client.values import duration

PATIENCE = Patience()


def run(options: Options, job_id: str) -> int:
    """The job's exit code."""
    check_id(job_id)
    with open_cluster(options) as cluster:
        return watch(cluster, job_id, as_json=options.as_json)


def watch(cluster: Cluster, job_id: str, *, as_json: bool, is_known: bool = False) -> int:
    """Follow it to its end; a line that moves on a terminal, a line for each change elsewhere. Raises Trouble.

    What is over is remembered: slurmctld may forget some tasks of an array before the last one ends. It may
    forget all of it while the gateway is away; of a job that there was, the accounting tells then.
    """
    screen = _Screen(as_json=as_json, moves=sys.stderr.isatty() and not as_json)
    codes: dict[str, int] = {}
    try:
        for jobs in follow(cluster, job_id, PATIENCE):
            is_known = True
            codes |= {job.shown_id: exit_code([job]) for job in jobs if job.is_over}
            screen.show(jobs)
    except Trouble as trouble:
        if not is_gone(trouble):
            raise
        records = _forgotten(cluster, job_id, trouble, is_known=is_known)
        codes = {one.shown_id: code_of(one) for one in records} | codes
        screen.show_ends(records)
    finally:
        screen.clear()
    return max(codes.values(), default=Exit.REFUSED_BY_SLURM)


def _forgotten(cluster: Cluster, job_id: str, trouble: Trouble, *, is_known: bool) -> list[Record]:
    """Only a job that there was is waited for in the accounting. Raises Trouble."""
    if is_known:
        return look_up(cluster, job_id, PATIENCE)
    records = ended_runs(cluster, job_id)
    if not records:
        raise trouble
    return records


class _Screen:
    """What was told of each job already."""

    def __init__(self, *, as_json: bool, moves: bool) -> None:
        self._as_json = as_json
        self._moves = moves
        self._told: dict[str, str] = {}

    def show(self, jobs: list[Job]) -> None:
        """What is new."""
        for job in jobs:
            self._tell(job.shown_id, _summary(job), job_facts(job))
        if self._moves:
            click.echo(f"\r\x1b[K{_progress(jobs)}", nl=False, err=True)

    def show_ends(self, records: list[Record]) -> None:
        """What the accounting has."""
        for one in records:
            code = f", exit code {one.exit_code}" if one.exit_code else ""
            self._tell(one.shown_id, f"{one.state}{code}, says the accounting", _facts(one))

    def clear(self) -> None:
        """The line that moves is gone."""
        if self._moves:
            click.echo("\r\x1b[K", nl=False, err=True)

    def _tell(self, shown_id: str, summary: str, facts: dict[str, Any]) -> None:
        if self._told.get(shown_id) == summary:
            return
        self._told[shown_id] = summary
        if self._as_json:
            click.echo(json.dumps(facts))
            return
        self.clear()
        clock = time.strftime("%H:%M:%S")
        click.echo(f"{clock}  job {printable(shown_id)}  {printable(summary, 4096)}")


def _facts(record: Record) -> dict[str, Any]:
    """By the names that a job's members have here."""
    code, _, signal = record.exit_code.partition(":")
    return {
        "job_id": int(record.job_id) if record.job_id.isdigit() else None,
        "shown_id": record.shown_id,
        "name": record.name,
        "state": record.state,
        "submitted": record.submitted or None,
        "started": record.started or None,
        "ended": record.ended or None,
        "exit_code": int(code) if code.isdigit() else None,
        "exit_signal": int(signal) if signal.isdigit() else None,
    }


def _summary(job: Job) -> str:
    reason = f" ({job.reason})" if job.state == "PENDING" and job.reason != "None" else ""
    place = f" on {job.nodes}" if job.nodes else ""
    code = f", exit code {job.exit_code}:{job.exit_signal}" if job.is_over else ""
    return f"{job.shown_state}{reason}{place}{code}"


def _progress(jobs: list[Job]) -> str:
    over = sum(job.is_over for job in jobs)
    if len(jobs) > 1:
        return f"{over} of {len(jobs)} over"
    (job,) = jobs
    return f"{printable(job.shown_state)}  {duration(job.elapsed_seconds(time.time()))}"
