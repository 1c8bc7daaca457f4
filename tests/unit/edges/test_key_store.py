"""The file of keys: what survives, who may read it, and what becomes of it when somebody takes it away."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from gateway.edges.group_commit import GroupCommit
from gateway.edges.key_store import SqliteKeyStore
from gateway.stages.idempotency import KeyEntry, KeyStoreDoubt, StoredAnswer
from tests.fake_keys import CAPS

NOW = 1_800_000_000.0


def entry(key: str) -> KeyEntry:
    return KeyEntry(key, "alice", "f", "m", "alice", "r", "this", NOW, NOW + 1000)


async def opened(path: Path) -> SqliteKeyStore:
    store = SqliteKeyStore(path)
    store.create()
    return store


async def test_only_the_gateways_user_may_read_the_file_and_its_log(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    path.touch(0o644)
    store = await opened(path)
    await store.begin(entry("k"), NOW, CAPS)
    modes = {one.name: one.stat().st_mode & 0o777 for one in os.scandir(tmp_path)}
    assert modes == {"keys.sqlite": 0o600, "keys.sqlite-wal": 0o600, "keys.sqlite-shm": 0o600}
    await store.close()


async def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "keys.sqlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        SqliteKeyStore(tmp_path / "keys.sqlite").create()


async def test_a_second_opening_finds_and_counts_everything(tmp_path: Path) -> None:
    first = await opened(tmp_path / "keys.sqlite")
    await first.begin(entry("k"), NOW, CAPS)
    await first.finish("k", StoredAnswer(200, "a/b", b"x"))
    await first.close()
    second = await opened(tmp_path / "keys.sqlite")
    held = await second.begin(entry("k"), NOW, CAPS)
    assert held.answer == StoredAnswer(200, "a/b", b"x")
    await second.forget("k")
    await second.close()


_KILLED = """
import asyncio, os, sys
from pathlib import Path
from gateway.edges.key_store import SqliteKeyStore
from gateway.stages.idempotency import Caps, KeyEntry

async def main():
    store = SqliteKeyStore(Path(sys.argv[1]))
    store.create()
    async def one(number):
        fresh = KeyEntry(str(number), "a", "f", "m", "u", "r", "h", 0.0, 1e10)
        await store.begin(fresh, 1.0, Caps(10**6, 10**6))
        os.write(1, b"%d\\n" % number)
    for start in range(0, 10**6, 8):
        await asyncio.gather(*(one(start + at) for at in range(8)))

asyncio.run(main())
"""


async def test_whatever_was_said_to_be_kept_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    command = [sys.executable, "-c", _KILLED, str(path)]
    process = subprocess.Popen(  # noqa: ASYNC220  # its output is read at the end
        command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    assert process.stdout is not None
    first = [await asyncio.to_thread(process.stdout.readline) for _ in range(9)]
    await asyncio.sleep(0.3)  # into the middle of some commit
    process.send_signal(signal.SIGKILL)
    said = set((b"".join(first) + process.communicate()[0]).decode().split())
    rows = sqlite3.connect(path).execute("SELECT key_hash FROM entry").fetchall()
    assert len(said) > 8
    assert said <= {key for (key,) in rows}


async def test_a_commit_that_fails_is_told_to_everybody_who_shared_it(tmp_path: Path) -> None:
    denied = [True]

    def deny_commits(connection: sqlite3.Connection) -> None:
        def judge(action: int, what: str | None, *_: object) -> int:
            is_commit = action == sqlite3.SQLITE_TRANSACTION and what == "COMMIT"
            return sqlite3.SQLITE_DENY if is_commit and denied[0] else sqlite3.SQLITE_OK

        connection.execute("CREATE TABLE IF NOT EXISTS t (v)")
        connection.set_authorizer(judge)

    file = GroupCommit(tmp_path / "some.sqlite", deny_commits)
    file.create()
    writes = [file.run(5, _insert) for _ in range(5)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert all(isinstance(result, sqlite3.Error) for result in results)
    denied[0] = False
    assert await file.run(5, _insert) == 1
    await file.close()


def _insert(connection: sqlite3.Connection) -> int:
    connection.execute("INSERT INTO t VALUES (1)")
    return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])


async def test_a_commit_is_synced_before_it_is_told(tmp_path: Path) -> None:
    """WAL, which a power cut cannot tear, with synchronous=FULL (2), whose commits are on disk."""
    store = await opened(tmp_path / "keys.sqlite")
    names = ("journal_mode", "synchronous")
    assert [await store._file.run(5, partial(_pragma, name)) for name in names] == ["wal", 2]
    await store.close()


def _pragma(name: str, connection: sqlite3.Connection) -> object:
    found: object = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return found


async def test_a_full_disk_is_a_doubt_and_undoes_the_whole_commit(tmp_path: Path) -> None:
    store = await opened(tmp_path / "keys.sqlite")
    await store.begin(entry("k"), NOW, CAPS)
    await store._file.run(5, _leave_no_room)
    with pytest.raises(KeyStoreDoubt, match="full"):
        await store.finish("k", StoredAnswer(200, "a/b", b"x" * 1_000_000))
    assert store.problem
    assert (await store.begin(entry("k"), NOW + 1, CAPS)).answer is None
    assert not store.problem
    await store.close()


def _leave_no_room(connection: sqlite3.Connection) -> None:
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")


async def test_requests_at_the_same_time_share_their_commits(tmp_path: Path) -> None:
    store = await opened(tmp_path / "keys.sqlite")
    await asyncio.gather(*(store.begin(entry(str(number)), NOW, CAPS) for number in range(200)))
    assert store.commits < 20
    await store.close()


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_a_file_that_is_taken_away_is_a_doubt_until_it_is_back(
    tmp_path: Path, how: str
) -> None:
    path = tmp_path / "keys.sqlite"
    store = await opened(path)
    await store.begin(entry("k"), NOW, CAPS)
    path.rename(tmp_path / "kept")
    if how == "replaced":
        path.write_bytes(b"no database")
    for _ in range(2):
        with pytest.raises(KeyStoreDoubt):
            await store.begin(entry("2"), NOW, CAPS)
    path.unlink(missing_ok=True)
    (tmp_path / "kept").rename(path)
    assert (await store.begin(entry("k"), NOW + 1, CAPS)).begun == NOW
    await store.close()


async def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    with pytest.raises(OSError, match="another version"):
        SqliteKeyStore(path).create()


async def test_a_locked_file_is_a_doubt_and_recovers(tmp_path: Path) -> None:
    store = await opened(tmp_path / "keys.sqlite")
    other = sqlite3.connect(tmp_path / "keys.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(KeyStoreDoubt):
        await store.begin(entry("k"), NOW, CAPS)
    other.execute("ROLLBACK")
    other.close()
    assert (await store.begin(entry("k"), NOW, CAPS)).begun == NOW
    await store.close()


async def test_a_purge_of_very_many_goes_in_bounded_commits(tmp_path: Path) -> None:
    store = await opened(tmp_path / "keys.sqlite")
    caps = CAPS._replace(each=10_000)
    await asyncio.gather(*(store.begin(entry(str(number)), NOW, caps) for number in range(2500)))
    before = store.commits
    assert await store.purge(NOW + 1000) == 2500
    assert store.commits - before == 3
    await store.close()
