"""Session -> a row of SQLite in the state directory, durable when the call returns."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import astuple
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.edges.group_commit import GroupCommit
from gateway.sign_in.session import Room, Session, SessionDoubt, SessionsExceeded

T = TypeVar("T")

_LIMIT_SECONDS: Final = 5.0
_VERSION: Final = 1

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS session (
    id_hash TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    sid TEXT NOT NULL,
    created REAL NOT NULL,
    last_used REAL NOT NULL,
    ends REAL NOT NULL,
    checked REAL NOT NULL,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    sealed BLOB NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS of_subject ON session (issuer, subject, last_used);
CREATE INDEX IF NOT EXISTS of_sid ON session (issuer, sid);
CREATE TABLE IF NOT EXISTS used (key TEXT PRIMARY KEY, expires REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expiring ON used (expires);
"""
_COLUMNS: Final = (
    "id_hash, client, issuer, subject, sid, created, last_used, ends, checked, address, agent,"
    " sealed, version"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM session"  # noqa: S608  # a constant
_INSERT: Final = f"INSERT INTO session ({_COLUMNS}) VALUES ({', '.join('?' * 13)})"  # noqa: S608
_OLDEST: Final = (
    "DELETE FROM session WHERE id_hash IN (SELECT id_hash FROM session WHERE issuer = ? AND"
    " subject = ? ORDER BY last_used DESC LIMIT -1 OFFSET ?) RETURNING id_hash"
)
_TOUCH: Final = "UPDATE session SET last_used = max(last_used, ?) WHERE id_hash = ?"
_REPLACE: Final = (
    "UPDATE session SET sid = ?, checked = ?, sealed = ?, version = ?"
    " WHERE id_hash = ? AND version = ?"
)
_END: Final = "DELETE FROM session WHERE id_hash = ? RETURNING id_hash"
_END_ALL: Final = (
    "DELETE FROM session WHERE issuer = ?1 AND (?2 = '' OR subject = ?2)"
    " AND (?3 = '' OR sid = ?3 OR (sid = '' AND ?2 <> '')) RETURNING id_hash"
)
_USE: Final = "INSERT OR IGNORE INTO used (key, expires) VALUES (?, ?)"
_PURGE: Final = "DELETE FROM session WHERE ends <= ?1 OR last_used + ?2 <= ?1"


class SqliteSessionStore:
    """A file that vanishes while the gateway runs is a doubt, not a fresh start."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = GroupCommit(path, self._prepare)

    def create_file(self) -> None:
        """Make the file where there is none, and try it. Raises OSError or sqlite3.Error. Blocks."""
        self._file.create()

    async def close(self) -> None:
        """For good."""
        await self._file.close()

    async def create(self, session: Session, room: Room) -> Sequence[str]:
        """See SessionStore."""
        return await self._run(partial(_create, session, room))

    async def find(self, id_hash: str) -> Session | None:
        """See SessionStore."""
        found = await self._run(partial(_select, "WHERE id_hash = ?", (id_hash,)))
        return found[0] if found else None

    async def touch(self, id_hash: str, last_used: float) -> None:
        """See SessionStore."""
        await self._run(partial(_change, _TOUCH, (last_used, id_hash)))

    async def replace(self, session: Session) -> bool:
        """See SessionStore."""
        new = (session.sid, session.checked, session.sealed, session.version)
        known = (session.id_hash, session.version - 1)
        return await self._run(partial(_change, _REPLACE, (*new, *known))) > 0

    async def end(self, id_hash: str) -> bool:
        """See SessionStore."""
        return bool(await self._run(partial(_delete, _END, (id_hash,))))

    async def end_all_once(
        self, key: str, expires: float, issuer: str, subject: str, sid: str = ""
    ) -> Sequence[str] | None:
        """See SessionStore."""
        whose = (issuer, subject, sid)
        return await self._run(partial(_end_all_once, (key, expires), whose))

    async def of_subject(self, issuer: str, subject: str) -> Sequence[Session]:
        """See SessionStore."""
        where = "WHERE issuer = ? AND subject = ? ORDER BY last_used DESC, id_hash"
        return await self._run(partial(_select, where, (issuer, subject)))

    async def use_once(self, key: str, expires: float) -> bool:
        """See SessionStore."""
        return await self._run(partial(_change, _USE, (key, expires))) > 0

    async def purge(self, now: float, idle_seconds: float) -> int:
        """See SessionStore."""
        await self._run(partial(_change, "DELETE FROM used WHERE expires <= ?", (now,)))
        return await self._run(partial(_change, _PURGE, (now, idle_seconds)))

    async def try_out(self) -> None:
        """Write and take away again, as somebody's sign-in would. Raises SessionDoubt."""
        await self._run(_try_out)

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._file.run(_LIMIT_SECONDS, work)
        except (sqlite3.Error, OSError) as error:
            raise SessionDoubt(f"{self._path} cannot be used: {error!r}") from error

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise OSError(22, f"{self._path} is of another version of the gateway ({version})")
        connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_VERSION};")


def _try_out(connection: sqlite3.Connection) -> None:
    """Time 0 is over, so that a purge would take it too."""
    connection.execute("INSERT OR REPLACE INTO used (key, expires) VALUES ('', 0)")
    connection.execute("DELETE FROM used WHERE key = ''")


def _create(session: Session, room: Room, connection: sqlite3.Connection) -> Sequence[str]:
    if connection.execute("SELECT count(*) FROM session").fetchone()[0] >= room.in_all:
        raise SessionsExceeded(f"{room.in_all} sessions")
    ended = _delete(_OLDEST, (session.issuer, session.subject, room.each - 1), connection)
    connection.execute(_INSERT, astuple(session))
    return ended


def _end_all_once(
    use: tuple[str, float], whose: tuple[str, str, str], connection: sqlite3.Connection
) -> list[str] | None:
    """In the one transaction that all work on the file has."""
    if not _change(_USE, use, connection):
        return None
    _, subject, sid = whose
    return _delete(_END_ALL, whose, connection) if subject or sid else []


def _select(where: str, values: tuple[Any, ...], connection: sqlite3.Connection) -> list[Session]:
    rows = connection.execute(f"{_SELECT} {where}", values).fetchall()
    return [Session(*row) for row in rows]


def _change(statement: str, values: tuple[Any, ...], connection: sqlite3.Connection) -> int:
    return connection.execute(statement, values).rowcount


def _delete(statement: str, values: tuple[Any, ...], connection: sqlite3.Connection) -> list[str]:
    return [id_hash for (id_hash,) in connection.execute(statement, values).fetchall()]


def all_sessions(path: Path) -> list[Session]:
    """Every session in the file, the last used first. Raises sqlite3.Error. Blocks."""
    with closing(_opened(path)) as connection:
        return _select("ORDER BY last_used DESC, id_hash", (), connection)


def end_sessions(path: Path, id_hashes: Sequence[str]) -> int:
    """Forget these; how many there were. Raises sqlite3.Error. Blocks."""
    with closing(_opened(path)) as connection:
        return sum(len(_delete(_END, (id_hash,), connection)) for id_hash in id_hashes)


def _opened(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    return sqlite3.connect(uri, uri=True, timeout=2.0, isolation_level=None)
