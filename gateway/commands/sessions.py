"""The sessions file, or the store -> a table of who is signed in; and some of them ended."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import click

from gateway.app_store import make_store
from gateway.commands.reporting import report_mistakes
from gateway.config.gateway import Gateway
from gateway.config.load import load
from gateway.config.problem import ConfigurationError
from gateway.edges.process_file import SESSIONS_FILE
from gateway.edges.session_store import all_sessions, end_sessions
from gateway.edges.shared_sessions import SharedSessions
from gateway.sign_in.session import Session, SessionDoubt, is_over

_HEADINGS = ("session", "subject", "issuer", "signed in", "last used", "from")


def list_all(config: Path, environ: Mapping[str, str], *, as_json: bool) -> int:
    """0, and 1 where the configuration or the file cannot be read."""
    found = _ask(config, environ, _living)
    if found is None:
        return 1
    if as_json:
        click.echo(json.dumps([_facts(one) for one in found], indent=2))
    elif found:
        _print(found)
    else:
        click.echo("Nobody is signed in.", err=True)
    return 0


def end(
    config: Path,
    environ: Mapping[str, str],
    *,
    handle: str | None,
    subject: str | None,
    issuer: str | None,
    everybody: bool,
) -> int:
    """0 where something was ended, 1 where there was nothing."""

    def is_meant(one: Session) -> bool:
        if handle is not None:
            return one.handle == handle
        return everybody or (one.subject == subject and issuer in (None, one.issuer))

    def act(kept: _Kept, idle: float) -> list[Session]:
        meant = [one for one in _living(kept, idle) if is_meant(one)]
        kept.end([one.id_hash for one in meant])
        return meant

    ended = _ask(config, environ, act)
    if ended is None:
        return 1
    if not ended:
        click.echo("Nothing was ended: there is no such session.", err=True)
        return 1
    _print(ended)
    click.echo(
        "\nEnded; a running gateway refuses them within two seconds. They can sign in again:"
        "\nto keep somebody out, use authenticate.deny_list_file.",
        err=True,
    )
    return 0


class _Kept(Protocol):
    def all(self) -> Sequence[Session]: ...

    def end(self, id_hashes: Sequence[str]) -> None: ...


class _InFile:
    def __init__(self, path: Path) -> None:
        path.stat()
        self._path = path

    def all(self) -> Sequence[Session]:
        return all_sessions(self._path)

    def end(self, id_hashes: Sequence[str]) -> None:
        end_sessions(self._path, id_hashes)


class _InStore:
    def __init__(self, settings: Gateway) -> None:
        self._settings = settings

    def all(self) -> Sequence[Session]:
        return asyncio.run(self._all_but([]))

    def end(self, id_hashes: Sequence[str]) -> None:
        asyncio.run(self._all_but(id_hashes))

    async def _all_but(self, id_hashes: Sequence[str]) -> Sequence[Session]:
        store = make_store(self._settings.store, self._settings.server.cluster)
        try:
            sessions = SharedSessions(store)
            for id_hash in id_hashes:
                await sessions.end(id_hash)
            return await sessions.all()
        finally:
            await store.close()


def _living(kept: _Kept, idle_seconds: float) -> list[Session]:
    now = time.time()
    return [one for one in kept.all() if not is_over(one, now, idle_seconds)]


def _ask(
    config: Path, environ: Mapping[str, str], question: Callable[[_Kept, float], list[Session]]
) -> list[Session] | None:
    """The sessions; None where an error was printed."""
    try:
        settings = load(config, environ)
    except ConfigurationError as error:
        report_mistakes(error, config)
        return None
    path = settings.server.state_directory / SESSIONS_FILE
    try:
        in_store = settings.store.address is not None
        kept = _InStore(settings) if in_store else _InFile(path)
        return question(kept, settings.sign_in.idle_seconds)
    except FileNotFoundError:
        return []
    except SessionDoubt as doubt:
        click.echo(str(doubt), err=True)
        return None
    except (sqlite3.Error, OSError) as error:
        click.echo(f"{path} cannot be used: {error}", err=True)
        return None


def _facts(one: Session) -> dict[str, object]:
    """What may be shown of a session: nothing that lets anybody in."""
    return {
        "session": one.handle,
        "issuer": one.issuer,
        "subject": one.subject,
        "client": one.client,
        "signed_in": _moment(one.created),
        "last_used": _moment(one.last_used),
        "ends": _moment(one.ends),
        "address": one.address,
        "agent": one.agent,
    }


def _print(sessions: Sequence[Session]) -> None:
    rows = [_HEADINGS, *map(_row, sessions)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(padded).rstrip())


def _row(one: Session) -> tuple[str, ...]:
    names = (one.handle, one.subject, one.issuer)
    return (*map(_printable, names), _moment(one.created), _moment(one.last_used), one.address)


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))


def _printable(text: str) -> str:
    """A subject is whatever a provider calls it, and must not speak to the terminal."""
    return text if text.isprintable() else json.dumps(text)
