"""`cancel` -> jobs that are cancelled or signalled, and those that Slurm did not let be."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from gateway.client.arrays import is_cut, is_named, whole_id
from gateway.client.cancelling import Pick, can_be_cancelled, picked, targets
from gateway.client.choosing import Choice, chosen
from gateway.client.job import Job
from gateway.client.opening import Cluster, open_cluster
from gateway.client.options import Options
from gateway.client.own_name import with_own_name
from gateway.client.refusals import is_gone, slurm_errors
from gateway.client.runs.job import read_one
from gateway.client.runs.jobs import read_jobs
from gateway.client.trouble import Exit, Trouble, printable
from gateway.client.values import member

_SILENT_VERSIONS = range(40, 42)
"""These answer 200 and nothing, also where slurmctld refused (measured on 24.11)."""
_FIRST_WITH_TASKS = 37
"""Before it 8_3 is an unknown address (measured on 20.11 and 22.05)."""
_QUIET = frozenset({"0", "None", ""})
_NO_SUCH = "there is no such job that lives and fits"
_UNKNOWN = ("(2017)", "Invalid job id specified")
_ENDS = "2021"
"""ESLURM_ALREADY_DONE."""


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
        found, unmet = _targets(cluster, job_ids, wanted)
        for job_id in found:
            if interactive and not click.confirm(f"Cancel job {job_id}?", err=True):
                continue
            is_listed = job_id not in job_ids or not wanted.is_empty
            done.append(_cancel(cluster, job_id, signal, is_listed=is_listed))
            _say(done[-1], as_json=options.as_json)
        for job_id in unmet:
            done.append({"job_id": job_id, "error": _NO_SUCH})
            _say(done[-1], as_json=options.as_json)
    if options.as_json:
        click.echo(json.dumps(done, indent=2))
    failed = any(one["error"] for one in done)
    return Exit.REFUSED_BY_SLURM if failed else Exit.DONE


def _targets(
    cluster: Cluster, job_ids: Sequence[str], choice: Choice
) -> tuple[list[str], list[str]]:
    """What is sent, and the ids that mean nothing; with filters, the jobs that live and fit all of them."""
    takes_tasks = cluster.number >= _FIRST_WITH_TASKS
    if job_ids and choice.is_empty:
        if takes_tasks and not any("+" in one for one in job_ids):
            return list(dict.fromkeys(job_ids)), []
        return _resolved(cluster, job_ids, takes_tasks=takes_tasks)
    living = [job for job in read_jobs(cluster) if can_be_cancelled(job)]
    fitting = chosen(living, choice)
    picks, unmet = picked(job_ids, fitting) if job_ids else (list(map(Pick, fitting)), [])
    return targets(picks, living, takes_tasks=takes_tasks), unmet


def _resolved(
    cluster: Cluster, job_ids: Sequence[str], *, takes_tasks: bool
) -> tuple[list[str], list[str]]:
    """Where an id as typed says nothing to slurmrestd: a component, and in v0.0.36 all but whole numbers."""
    found: list[str] = []
    unmet: list[str] = []
    for one in dict.fromkeys(job_ids):
        if takes_tasks and "+" not in one:
            found.append(one)
            continue
        known = _known(cluster, whole_id(one))
        living = list(filter(can_be_cancelled, known))
        picks, _ = picked([one], living)
        found += targets(picks, living, takes_tasks=takes_tasks)
        unmet += [] if any(is_named(job, one) for job in known) else [one]
    return list(dict.fromkeys(found)), unmet


def _known(cluster: Cluster, job_id: str) -> list[Job]:
    """What slurmctld knows of it, which may be nothing. Raises Trouble."""
    try:
        return read_one(cluster, job_id)
    except Trouble as trouble:
        if is_gone(trouble):
            return []
        raise


def _cancel(
    cluster: Cluster, job_id: str, signal: str | None, *, is_listed: bool
) -> dict[str, Any]:
    error = ""
    try:
        content = cluster.delete(f"/job/{job_id}", {"signal": signal} if signal else {}).content
        error = "; ".join(refusals(content, is_an_end_fine=signal is None))
        if not error and signal is None and cluster.number in _SILENT_VERSIONS:
            error = _left_alone(cluster, job_id)
    except Trouble as trouble:
        if trouble.code is not Exit.REFUSED_BY_SLURM:
            raise
        error = trouble.sentence
    if is_listed and any(word in error for word in _UNKNOWN) and not _is_there(cluster, job_id):
        error = ""
    return {"job_id": job_id, "error": error}


def _is_there(cluster: Cluster, job_id: str) -> bool:
    """Of what was listed a moment ago some has ended by itself since."""
    return any(map(can_be_cancelled, _known(cluster, job_id)))


def refusals(content: Mapping[str, Any], *, is_an_end_fine: bool = False) -> Iterator[str]:
    """Also those of answers with status 200 (24.11 and newer), which name each task that had ended before."""
    yield from slurm_errors(content)
    for one in content.get("status") or []:
        code, words = member(one, "error", "code"), member(one, "error", "string")
        if str(code) in _QUIET or (is_an_end_fine and str(code) == _ENDS):
            continue
        yield f"{printable(words or member(one, 'error', 'message') or 'refused')} ({code})"


def _left_alone(cluster: Cluster, job_id: str) -> str:
    untouched = [
        job
        for job in _known(cluster, job_id)
        if can_be_cancelled(job) and not ("_" in job_id and is_cut(job.shown_id))
    ]
    return "Slurm did not cancel it: is it your job?" if untouched else ""


def _say(done: Mapping[str, Any], *, as_json: bool) -> None:
    """Nothing where all is well, as scancel does."""
    if done["error"] and not as_json:
        mark = click.style("Error:", fg="red")
        click.echo(f"{mark} job {done['job_id']}: {printable(done['error'])}", err=True)
