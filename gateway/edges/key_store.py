"""KeyEntry -> a row of SQLite in the state directory, durable when the call returns."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.edges.group_commit import GroupCommit
from gateway.stages.idempotency import Caps, KeyEntry, KeysExceeded, KeyStoreDoubt, StoredAnswer

T = TypeVar("T")

_LIMIT_SECONDS: Final = 5.0
_VERSION: Final = 1
_PURGED_AT_ONCE: Final = 1000
"""Rows deleted in one commit: others wait for it."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entry (
    key_hash TEXT PRIMARY KEY,
    identity_hash TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    marker TEXT NOT NULL,
    user TEXT NOT NULL,
    request_id TEXT NOT NULL,
    holder TEXT NOT NULL,
    begun REAL NOT NULL,
    expires REAL NOT NULL,
    status INTEGER,
    media_type TEXT,
    body BLOB,
    job_id INTEGER
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expiring ON entry (expires);
"""
_COLUMNS: Final = (
    "key_hash, identity_hash, fingerprint, marker, user, request_id, holder, begun, expires,"
    " status, media_type, body, job_id"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM entry WHERE key_hash = ?"  # noqa: S608  # a constant
_INSERT: Final = f"INSERT INTO entry ({_COLUMNS}) VALUES ({', '.join('?' * 13)})"  # noqa: S608
_FINISH: Final = (
    "UPDATE entry SET status = ?, media_type = ?, body = ?, job_id = ? WHERE key_hash = ?"
)
_DELETE: Final = "DELETE FROM entry WHERE key_hash = ? RETURNING identity_hash"
_PURGE: Final = (
    "DELETE FROM entry WHERE key_hash IN (SELECT key_hash FROM entry WHERE expires <= ? LIMIT ?)"
    " RETURNING identity_hash"
)
_COUNT: Final = "SELECT identity_hash, count(*) FROM entry GROUP BY identity_hash"


class SqliteKeyStore:
    """One for a whole process, because it counts in memory what is in the file.

    A file that vanishes while the gateway runs is a doubt, not a fresh start. `problem` is what the
    last call failed with.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = GroupCommit(path, self._prepare)
        self.problem = ""
        self._counts: dict[str, int] = {}
        self._total = 0

    def create(self) -> None:
        """Make the file where there is none, and try it. Raises OSError or sqlite3.Error. Blocks."""
        self._file.create()

    @property
    def commits(self) -> int:
        """How many there were; fewer than requests where several shared one."""
        return self._file.commits

    async def close(self) -> None:
        """For good."""
        await self._file.close()

    async def begin(self, fresh: KeyEntry, now: float, caps: Caps) -> KeyEntry:
        """See KeyStore."""
        return await self._run(partial(self._begin, fresh, now, caps))

    async def begin_again(self, entry: KeyEntry) -> None:
        """See KeyStore."""
        await self._run(partial(self._replace, entry))

    async def finish(self, key_hash: str, answer: StoredAnswer) -> None:
        """See KeyStore."""
        await self._run(partial(self._finish, key_hash, answer))

    async def forget(self, key_hash: str) -> None:
        """See KeyStore."""
        await self._run(lambda connection: self._delete(connection, _DELETE, (key_hash,)))

    async def purge(self, now: float) -> int:
        """See KeyStore. In commits of a bounded size."""
        deleted = 0
        while True:
            some = await self._run(
                lambda connection: self._delete(connection, _PURGE, (now, _PURGED_AT_ONCE))
            )
            deleted += some
            if some < _PURGED_AT_ONCE:
                return deleted

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            result = await self._file.run(_LIMIT_SECONDS, work)
        except (sqlite3.Error, OSError) as error:
            self.problem = f"{self._path} cannot be used: {error!r}"
            raise KeyStoreDoubt(self.problem) from error
        self.problem = ""
        return result

    # in the thread

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise OSError(22, f"{self._path} is of another version of the gateway ({version})")
        connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")
        self._counts = dict(connection.execute(_COUNT).fetchall())
        self._total = sum(self._counts.values())

    def _begin(
        self, fresh: KeyEntry, now: float, caps: Caps, connection: sqlite3.Connection
    ) -> KeyEntry:
        row = connection.execute(_SELECT, (fresh.key_hash,)).fetchone()
        if row is not None:
            held = _entry(row)
            if held.expires > now:
                return held
            self._delete(connection, _DELETE, (fresh.key_hash,))
        if self._counts.get(fresh.identity_hash, 0) >= caps.each:
            raise KeysExceeded("of this identity")
        if self._total >= caps.in_all:
            raise KeysExceeded("of all")
        self._insert(fresh, connection)
        return fresh

    def _insert(self, entry: KeyEntry, connection: sqlite3.Connection) -> None:
        connection.execute(_INSERT, _row(entry))
        self._counts[entry.identity_hash] = self._counts.get(entry.identity_hash, 0) + 1
        self._total += 1

    def _replace(self, entry: KeyEntry, connection: sqlite3.Connection) -> None:
        self._delete(connection, _DELETE, (entry.key_hash,))
        self._insert(entry, connection)

    def _finish(self, key_hash: str, answer: StoredAnswer, connection: sqlite3.Connection) -> None:
        connection.execute(_FINISH, (*answer, key_hash))

    def _delete(
        self, connection: sqlite3.Connection, statement: str, values: tuple[Any, ...]
    ) -> int:
        owners = [owner for (owner,) in connection.execute(statement, values).fetchall()]
        for owner in owners:
            self._total -= 1
            left = self._counts.pop(owner, 0) - 1
            if left > 0:
                self._counts[owner] = left
        return len(owners)


def _row(entry: KeyEntry) -> tuple[object, ...]:
    answer = entry.answer or (None, None, None, None)
    return (
        entry.key_hash,
        entry.identity_hash,
        entry.fingerprint,
        entry.marker,
        entry.user,
        entry.request_id,
        entry.holder,
        entry.begun,
        entry.expires,
        *answer,
    )


def _entry(row: tuple[Any, ...]) -> KeyEntry:
    entry = KeyEntry(*row[:9])
    return entry if row[9] is None else replace(entry, answer=StoredAnswer(*row[9:]))
