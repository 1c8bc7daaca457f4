"""`job ID` -> all that slurmctld knows about it, as `scontrol show job` prints it."""

import json
import time
from collections.abc import Iterator

import click

from gateway.client.arrays import may_have, whole_id
from gateway.client.choosing import check_id
from gateway.client.facts import job_facts
from gateway.client.job import Job, read_job
from gateway.client.opening import Cluster, open_cluster
from gateway.client.options import Options
from gateway.client.trouble import Exit, Trouble, printable
from gateway.client.values import duration, limit, moment


def run(options: Options, job_id: str) -> int:
    """0 where slurmctld still knows the job."""
    check_id(job_id)
    with open_cluster(options) as cluster:
        found = read_one(cluster, job_id)
    if options.as_json:
        click.echo(json.dumps([job_facts(job) for job in found], indent=2))
        return Exit.DONE
    for job in found:
        click.echo("\n".join(_lines(job, time.time())))
        if job is not found[-1]:
            click.echo()
    return Exit.DONE


def read_one(cluster: Cluster, job_id: str) -> list[Job]:
    """The job, and all tasks or components with it. Raises Trouble where slurmctld does not know it.

    A task is looked for among all of its array: asked for it, 22.05 knows none that waits, and newer
    releases answer with the whole array (measured).
    """
    content = cluster.get(f"/job/{whole_id(job_id)}").content
    jobs = [read_job(one) for one in content.get("jobs") or []]
    if job_id != whole_id(job_id):
        own = [job for job in jobs if job.shown_id == job_id]
        jobs = own or [job for job in jobs if may_have(job, job_id)]
    if not jobs:
        raise Trouble(
            Exit.REFUSED_BY_SLURM,
            f"Slurm knows no job {job_id} any more.",
            f"look into the accounting: slurm-gateway history -j {job_id}",
        )
    return jobs


def _lines(job: Job, now: float) -> Iterator[str]:
    user = f"{job.user}({job.user_id})" if job.user else str(job.user_id)
    pairs = {
        "JobId": f"{job.job_id}  JobName={job.name}",
        "ShownId": job.shown_id if job.shown_id != str(job.job_id) else "",
        "UserId": f"{user}  Account={job.account}  QOS={job.qos}  Priority={job.priority}",
        "JobState": f"{job.shown_state}  Reason={job.reason}",
        "ExitCode": f"{job.exit_code}:{job.exit_signal}",
        "RunTime": f"{duration(job.elapsed_seconds(now))}  TimeLimit={limit(job.limit_minutes)}",
        "SubmitTime": f"{moment(job.submitted)}  EligibleTime={moment(job.eligible)}",
        "StartTime": f"{moment(job.started)}  EndTime={moment(job.ended)}",
        "Partition": f"{job.partition}  NumNodes={job.node_count}  NumCPUs={job.cpus}",
        "NodeList": job.nodes,
        **job.more,
    }
    for label, value in pairs.items():
        if value:
            yield f"{'' if label == 'JobId' else '   '}{label}={printable(value, 4096)}"
