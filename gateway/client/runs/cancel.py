"""`cancel` -> jobs that are cancelled or signalled, and those that Slurm did not let be."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from gateway.client.choosing import Choice, chosen
from gateway.client.opening import Cluster, open_cluster
from gateway.client.options import Options
from gateway.client.own_name import with_own_name
from gateway.client.refusals import slurm_errors
from gateway.client.runs.job import read_one
from gateway.client.runs.jobs import read_jobs
from gateway.client.trouble import Exit, Trouble, printable
from gateway.client.values import member

_SILENT_VERSIONS = range(40, 42)
"""These answer 200 and nothing, also where slurmctld refused (measured on 24.11)."""
_QUIET = frozenset({"0", "None", ""})


def run(
    options: Options,
    job_ids: Sequence[str],
    choice: Choice,
    *,
    mine: bool,
    signal: str | None,
    interactive: bool,
) -> int:
    """0 where every job that was meant is cancelled."""
    if not job_ids and choice.is_empty and not mine:
        raise Trouble(
            Exit.WRONG_CALL, "Which jobs?", "name them, or choose with --me, --name, --state, …"
        )
    done: list[dict[str, Any]] = []
    with open_cluster(options) as cluster:
        wanted = with_own_name(cluster.gateway, choice) if mine else choice
        for job_id in _targets(cluster, job_ids, wanted):
            if interactive and not click.confirm(f"Cancel job {job_id}?", err=True):
                continue
            done.append(_cancel(cluster, job_id, signal))
            _say(done[-1], as_json=options.as_json)
    if options.as_json:
        click.echo(json.dumps(done, indent=2))
    failed = any(one["error"] for one in done)
    return Exit.REFUSED_BY_SLURM if failed else Exit.DONE


def _targets(cluster: Cluster, job_ids: Sequence[str], choice: Choice) -> list[str]:
    """Ids as typed; with filters, the jobs that are not over and fit all of them, as in scancel."""
    if job_ids and choice.is_empty:
        return list(dict.fromkeys(job_ids))
    living = [job for job in read_jobs(cluster) if not job.is_over]
    found = chosen(living, choice)
    if job_ids:
        known = {check for job in found for check in (str(job.job_id), job.shown_id)}
        return [one for one in dict.fromkeys(job_ids) if one in known]
    return list(dict.fromkeys(str(job.job_id) for job in found))


def _cancel(cluster: Cluster, job_id: str, signal: str | None) -> dict[str, Any]:
    error = ""
    try:
        content = cluster.delete(f"/job/{job_id}", {"signal": signal} if signal else {}).content
        error = "; ".join(refusals(content))
        if not error and signal is None and cluster.number in _SILENT_VERSIONS:
            error = _left_alone(cluster, job_id)
    except Trouble as trouble:
        if trouble.code is not Exit.REFUSED_BY_SLURM:
            raise
        error = trouble.sentence
    return {"job_id": job_id, "error": error}


def refusals(content: Mapping[str, Any]) -> Iterator[str]:
    """Also those of answers with status 200 (24.11 and newer)."""
    yield from slurm_errors(content)
    for one in content.get("status") or []:
        code, words = member(one, "error", "code"), member(one, "error", "string")
        if str(code) not in _QUIET:
            yield f"{printable(words or member(one, 'error', 'message') or 'refused')} ({code})"


def _left_alone(cluster: Cluster, job_id: str) -> str:
    living = [job for job in read_one(cluster, job_id) if not job.is_over]
    untouched = [job for job in living if not {"COMPLETING", "CANCELLED"} & {job.shown_state}]
    return "Slurm did not cancel it: is it your job?" if untouched else ""


def _say(done: Mapping[str, Any], *, as_json: bool) -> None:
    """Nothing where all is well, as scancel does."""
    if done["error"] and not as_json:
        mark = click.style("Error:", fg="red")
        click.echo(f"{mark} job {done['job_id']}: {printable(done['error'])}", err=True)
