"""`watch ID` -> one line for each change of a job's state, and the job's own exit code."""

import json
import sys
import time

import click

from gateway.client.choosing import check_id
from gateway.client.facts import job_facts
from gateway.client.following import Patience, exit_code, follow
from gateway.client.job import Job
from gateway.client.opening import Cluster, open_cluster
from gateway.client.options import Options
from gateway.client.trouble import printable
from gateway.client.values import duration


def run(options: Options, job_id: str) -> int:
    """The job's exit code."""
    check_id(job_id)
    with open_cluster(options) as cluster:
        return watch(cluster, job_id, as_json=options.as_json)


def watch(cluster: Cluster, job_id: str, *, as_json: bool) -> int:
    """Follow it to its end; a line that moves on a terminal, a line for each change elsewhere. Raises Trouble.

    What is over is remembered: slurmctld may forget some tasks of an array before the last one ends.
    """
    told: dict[str, str] = {}
    over: dict[str, Job] = {}
    moves = sys.stderr.isatty() and not as_json
    for jobs in follow(cluster, job_id, Patience()):
        over |= {job.shown_id: job for job in jobs if job.is_over}
        for job in jobs:
            if told.get(job.shown_id) != _summary(job):
                told[job.shown_id] = _summary(job)
                _tell(job, as_json=as_json, moves=moves)
        if moves:
            click.echo(f"\r\x1b[K{_progress(jobs)}", nl=False, err=True)
    if moves:
        click.echo("\r\x1b[K", nl=False, err=True)
    return exit_code(list(over.values()))


def _summary(job: Job) -> str:
    reason = f" ({job.reason})" if job.state == "PENDING" and job.reason != "None" else ""
    place = f" on {job.nodes}" if job.nodes else ""
    code = f", exit code {job.exit_code}:{job.exit_signal}" if job.is_over else ""
    return f"{job.shown_state}{reason}{place}{code}"


def _tell(job: Job, *, as_json: bool, moves: bool) -> None:
    if as_json:
        click.echo(json.dumps(job_facts(job)))
        return
    if moves:
        click.echo("\r\x1b[K", nl=False, err=True)
    clock = time.strftime("%H:%M:%S")
    click.echo(f"{clock}  job {printable(job.shown_id)}  {printable(_summary(job), 4096)}")


def _progress(jobs: list[Job]) -> str:
    over = sum(job.is_over for job in jobs)
    if len(jobs) > 1:
        return f"{over} of {len(jobs)} over"
    (job,) = jobs
    return f"{printable(job.shown_state)}  {duration(job.elapsed_seconds(time.time()))}"
