"""(issuer, subject, user) -> who first used the user, remembered in a file of the state directory.

`bind` and `peek` are for the event loop; what an admin does with the file blocks.
"""

import os
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

from gateway.edges.few_threads import FewThreads
from gateway.stages.map_user import Binding, DirectoryDoubt

_LIMIT_SECONDS = 3.0
_LOCK_SECONDS = 2.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS binding (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user TEXT NOT NULL UNIQUE,
    bound_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (issuer, subject)
) WITHOUT ROWID
"""
_HELD = """
SELECT issuer, subject, user FROM binding WHERE issuer = ?1 AND subject = ?2
UNION ALL
SELECT issuer, subject, user FROM binding WHERE user = ?3
"""
_INSERT = "INSERT OR IGNORE INTO binding (issuer, subject, user) VALUES (?1, ?2, ?3)"
_ALL = "SELECT issuer, subject, user, bound_at || 'Z' FROM binding ORDER BY user"
_DELETE = """
DELETE FROM binding WHERE issuer = ?1 AND subject = ?2
RETURNING issuer, subject, user, bound_at || 'Z'
"""
_DELETE_USER = "DELETE FROM binding WHERE user = ? RETURNING issuer, subject, user, bound_at || 'Z'"


class Remembered(NamedTuple):
    """A binding and when it was made: "2026-03-01 12:00:00Z"."""

    issuer: str
    subject: str
    user: str
    bound_at: str


class BindingsFile:
    """Bindings in SQLite: one subject a user, one user a subject, whichever process asks.

    Create it with `create` once; a file that vanishes later is a doubt, not a fresh start, because
    forgetting is what would let a second subject in.
    """

    def __init__(self, path: Path, threads: FewThreads) -> None:
        self._path = path
        self._threads = threads

    def create(self) -> None:
        """Make the file, mode 0600, where there is none. Raises OSError or sqlite3.Error. Blocks."""
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with closing(self._connect()) as connection:
            connection.execute(_SCHEMA)

    def remembered(self) -> list[Remembered]:
        """All, by user. Raises sqlite3.Error. Blocks."""
        with closing(self._connect()) as connection:
            return [Remembered(*row) for row in connection.execute(_ALL)]

    def remove(self, issuer: str, subject: str) -> list[Remembered]:
        """Forget the subject; what was forgotten. Raises sqlite3.Error. Blocks."""
        return self._delete(_DELETE, issuer, subject)

    def remove_user(self, user: str) -> list[Remembered]:
        """Forget whose the user is; what was forgotten. Raises sqlite3.Error. Blocks."""
        return self._delete(_DELETE_USER, user)

    def _delete(self, statement: str, *values: str) -> list[Remembered]:
        with closing(self._connect()) as connection:
            return [Remembered(*row) for row in connection.execute(statement, values).fetchall()]

    async def bind(self, wanted: Binding) -> Binding:
        """What holds for the subject or the user: `wanted` where neither was bound before.

        Raises DirectoryDoubt where the file cannot be read or written in time.
        """
        try:
            return await self._threads.run(_LIMIT_SECONDS, partial(self._bind, wanted))
        except (sqlite3.Error, OSError) as error:
            raise DirectoryDoubt(f"{self._path} cannot be used: {error!r}") from error

    async def peek(self, wanted: Binding) -> Binding:
        """What `bind` would answer, without remembering anything; for `explain`."""
        if not self._path.exists():
            return wanted
        try:
            return await self._threads.run(_LIMIT_SECONDS, partial(self._peek, wanted))
        except (sqlite3.Error, OSError) as error:
            raise DirectoryDoubt(f"{self._path} cannot be used: {error!r}") from error

    def _peek(self, wanted: Binding) -> Binding:
        with closing(self._connect()) as connection:
            held = connection.execute(_HELD, wanted).fetchone()
        return wanted if held is None else Binding(*held)

    def _bind(self, wanted: Binding) -> Binding:
        with closing(self._connect()) as connection:
            held = connection.execute(_HELD, wanted).fetchone()
            if held is None:
                connection.execute(_INSERT, wanted)
                held = connection.execute(_HELD, wanted).fetchone()
        return Binding(*held)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=_LOCK_SECONDS,
            isolation_level=None,
        )
