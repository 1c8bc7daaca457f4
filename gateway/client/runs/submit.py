"""`submit SCRIPT` -> a job, as sbatch submits it; with --wait, its end and its code."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gateway.client.opening import Cluster, open_cluster
from gateway.client.options import Options
from gateway.client.refusals import is_gone
from gateway.client.runs.watch import watch
from gateway.client.submit.assembling import Submission, assemble, script_name
from gateway.client.submit.job_file import is_json, read_job_file
from gateway.client.submit.script import MAXIMUM_BYTES, Script, read_script
from gateway.client.submit.table import Option, read_options
from gateway.client.submit.words import COMMAND_LINE, Given, read_words
from gateway.client.submitting import Submitted, new_key, submit
from gateway.client.trouble import Exit, Trouble, printable


@dataclass(frozen=True, slots=True)
class _Typed:
    given: tuple[Given, ...]
    path: str
    arguments: tuple[str, ...]

    def text_of(self, name: str) -> str | None:
        return next((one.text for one in reversed(self.given) if one.option.name == name), None)


def run(options: Options, words: Sequence[str], key: str | None, *, dry_run: bool) -> int:
    """0 once Slurm has the job; with --wait, the job's own code."""
    known = read_options()
    typed = _read_typed(words, known)
    submission = _submission(typed, known)
    with open_cluster(options) as cluster:
        body = _body(cluster, submission)
        if dry_run:
            click.echo(json.dumps(body, indent=2))
            return Exit.DONE
        submitted = submit(cluster, body, key or new_key(), tell=_note)
        wishes = {name: _wish(submission, typed, name) for name in ("parsable", "quiet")}
        _say(submitted, **wishes, as_json=options.as_json)
        if _wish(submission, typed, "wait"):
            return _follow(cluster, submitted.job_id, as_json=options.as_json)
    return Exit.DONE


def _follow(cluster: Cluster, job_id: int, *, as_json: bool) -> int:
    """The job goes on, whatever ends the waiting, unless slurmctld has forgotten it."""
    try:
        return watch(cluster, str(job_id), as_json=as_json, is_known=True)
    except (Trouble, KeyboardInterrupt) as ended:
        if not (isinstance(ended, Trouble) and is_gone(ended)):
            click.echo(f"Job {job_id} goes on: slurm-gateway watch {job_id}", err=True)
        raise


def _read_typed(words: Sequence[str], known: Mapping[str, Option]) -> _Typed:
    given, rest = read_words(words, known, COMMAND_LINE)
    wraps = any(one.option.name == "wrap" for one in given)
    if wraps and rest:
        raise Trouble(Exit.WRONG_CALL, "--wrap is the script; leave the file out.")
    path, *arguments = rest or ["-"]
    return _Typed(tuple(given), "wrap" if wraps else path, tuple(arguments))


def _submission(typed: _Typed, known: Mapping[str, Option]) -> Submission | dict[str, Any]:
    """What a script describes, or the body that a JSON file is. Raises Trouble."""
    command = typed.text_of("wrap")
    if command is not None:
        text = f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{command}\n"
        return Submission(Script(text, ((),)), "wrap", (), typed.given, os.environ, known)
    content = _read(typed.path)
    name = "standard input" if typed.path == "-" else typed.path
    if is_json(content, name):
        if typed.given and any(one.option.fields for one in typed.given):
            raise Trouble(
                Exit.WRONG_CALL,
                "Options of sbatch go with a script, not with JSON.",
                "put them into it",
            )
        body, note = read_job_file(content, name)
        _note(note)
        return body
    script = read_script(content, name, known)
    for note in script.notes:
        _note(f"{name}: {note}")
    shown = "sbatch" if typed.path == "-" else script_name(typed.path)
    return Submission(script, shown, typed.arguments, typed.given, os.environ, known)


def _body(cluster: Cluster, submission: Submission | dict[str, Any]) -> dict[str, Any]:
    if isinstance(submission, dict):
        return submission
    return assemble(submission, cluster.number, time.time())


def _wish(submission: Submission | dict[str, Any], typed: _Typed, name: str) -> bool:
    """Whether an option of the client's own was given, anywhere."""
    if isinstance(submission, Submission):
        return submission.has(name)
    return typed.text_of(name) is not None


def _read(path: str) -> bytes:
    """One byte more than there may be, so that nobody reads a whole disk. Raises Trouble."""
    if path == "-":
        return sys.stdin.buffer.read(MAXIMUM_BYTES + 1)
    try:
        with Path(path).open("rb") as file:
            return file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise Trouble(
            Exit.NO_INPUT,
            f"{printable(path)} cannot be read: {error.strerror}.",
            "name a batch script",
        ) from None


def _note(text: str) -> None:
    if text:
        click.echo(f"{click.style('Note:', fg='yellow')} {text}", err=True)


def _say(submitted: Submitted, *, parsable: bool, quiet: bool, as_json: bool) -> None:
    if submitted.message:
        click.echo(printable(submitted.message, 4096), err=True)
    if as_json:
        click.echo(json.dumps({"job_id": submitted.job_id, "replayed": submitted.replayed}))
    elif parsable:
        click.echo(str(submitted.job_id))
    elif not quiet:
        click.echo(f"Submitted batch job {submitted.job_id}")
