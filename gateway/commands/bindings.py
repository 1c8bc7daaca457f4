"""The bindings file, or the store -> a table of whose each Slurm user is; and one of them removed."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import click

from gateway.app_store import make_store
from gateway.commands.reporting import report_mistakes
from gateway.config.gateway import Gateway
from gateway.config.load import load
from gateway.config.problem import ConfigurationError
from gateway.edges.bindings import BindingsFile, Remembered
from gateway.edges.few_threads import FewThreads
from gateway.edges.process_file import BINDINGS_FILE
from gateway.edges.shared_bindings import SharedBindings
from gateway.stages.map_user import DirectoryDoubt

_HEADINGS = ("user", "subject", "issuer", "bound at")


def list_all(config: Path, environ: Mapping[str, str], *, as_json: bool) -> int:
    """0, and 1 where the configuration or the file cannot be read."""
    found = _ask(config, environ, BindingsFile.remembered, SharedBindings.remembered)
    if found is None:
        return 1
    if as_json:
        click.echo(json.dumps([row._asdict() for row in found], indent=2))
    elif found:
        _print(found)
    else:
        click.echo("No user is bound to a subject.", err=True)
    return 0


def remove(
    config: Path,
    environ: Mapping[str, str],
    *,
    issuer: str | None,
    subject: str | None,
    user: str | None,
) -> int:
    """0 where something was removed, 1 where there was nothing."""

    def act(file: BindingsFile) -> list[Remembered]:
        return file.remove_user(user) if user else file.remove(issuer or "", subject or "")

    async def act_in_store(shared: SharedBindings) -> list[Remembered]:
        if user:
            return await shared.remove_user(user)
        return await shared.remove(issuer or "", subject or "")

    removed = _ask(config, environ, act, act_in_store)
    if removed is None:
        return 1
    if not removed:
        click.echo("Nothing was removed: there is no such binding.", err=True)
        return 1
    _print(removed)
    click.echo(
        "\nRemoved; a running gateway knows within two seconds. The next subject whose token"
        "\nmaps to this user binds it, the same one too: to keep somebody out, use the deny list.",
        err=True,
    )
    return 0


def _ask(
    config: Path,
    environ: Mapping[str, str],
    question: Callable[[BindingsFile], list[Remembered]],
    question_to_store: Callable[[SharedBindings], Awaitable[list[Remembered]]],
) -> list[Remembered] | None:
    """The rows; None where an error was printed."""
    try:
        settings = load(config, environ)
    except ConfigurationError as error:
        report_mistakes(error, config)
        return None
    if settings.store.address is not None:
        return _ask_store(settings, question_to_store)
    path = settings.server.state_directory / BINDINGS_FILE
    try:
        path.stat()
        return question(BindingsFile(path, FewThreads(1)))
    except FileNotFoundError:
        return []
    except (sqlite3.Error, OSError) as error:
        click.echo(f"{path} cannot be used: {error}", err=True)
        return None


def _ask_store(
    settings: Gateway, question: Callable[[SharedBindings], Awaitable[list[Remembered]]]
) -> list[Remembered] | None:
    async def ask() -> list[Remembered]:
        store = make_store(settings.store, settings.server.cluster)
        try:
            return await question(SharedBindings(store, settings.server.state_directory))
        finally:
            await store.close()

    try:
        return asyncio.run(ask())
    except DirectoryDoubt as doubt:
        click.echo(str(doubt), err=True)
        return None


def _print(rows: Sequence[Remembered]) -> None:
    cells = [(row.user, row.subject, row.issuer, row.bound_at) for row in rows]
    lines = [_HEADINGS, *(tuple(map(_printable, line)) for line in cells)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        padded = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _printable(text: str) -> str:
    """A subject is whatever a provider calls it, and must not speak to the terminal."""
    return text if text.isprintable() else json.dumps(text)
