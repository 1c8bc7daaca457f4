"""First uses outlive the process, are shared between processes, and are never silently forgotten."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gateway.edges.bindings import BindingsFile
from gateway.edges.few_threads import FewThreads
from gateway.stages.map_user import Binding, DirectoryDoubt
from tests.fakes import ISSUER

ALICE = Binding(ISSUER, "1", "alice")
ROOT = Path(__file__).parents[3]


FILE = "bindings #1?.sqlite"


def make(path: Path) -> BindingsFile:
    made = BindingsFile(path / FILE, FewThreads(2))
    made.create()
    return made


def files_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def test_a_binding_outlives_the_process_that_made_it(tmp_path: Path) -> None:
    await make(tmp_path).bind(ALICE)
    assert await make(tmp_path).bind(Binding(ISSUER, "2", "alice")) == ALICE


async def test_the_file_is_for_the_gateway_alone(tmp_path: Path) -> None:
    await make(tmp_path).bind(ALICE)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


async def test_a_file_that_vanished_or_broke_is_a_doubt_and_not_a_fresh_start(
    tmp_path: Path,
) -> None:
    bindings = make(tmp_path)
    await bindings.bind(ALICE)
    file = tmp_path / FILE
    file.write_bytes(b"no database at all, and long enough to be read as one" * 100)
    with pytest.raises(DirectoryDoubt, match="cannot be used"):
        await bindings.bind(ALICE)
    file.unlink()
    with pytest.raises(DirectoryDoubt, match="cannot be used"):
        await bindings.bind(ALICE)
    assert files_in(tmp_path) == []


async def test_the_database_itself_refuses_a_second_subject_and_a_second_user(
    tmp_path: Path,
) -> None:
    """What holds between two processes that both looked before either wrote."""
    await make(tmp_path).bind(ALICE)
    insert = "INSERT INTO binding (issuer, subject, user) VALUES (?, ?, ?)"
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        for second in (Binding(ISSUER, "2", "alice"), Binding(ISSUER, "1", "bob")):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(insert, second)


async def test_looking_binds_nothing_and_says_what_would_hold(tmp_path: Path) -> None:
    nowhere = BindingsFile(tmp_path / "absent", FewThreads(1))
    assert await nowhere.peek(ALICE) == ALICE
    assert await nowhere.peek(Binding(ISSUER, "2", "alice")) == Binding(ISSUER, "2", "alice")
    bindings, second = make(tmp_path), Binding(ISSUER, "2", "alice")
    assert await bindings.peek(second) == second
    assert await bindings.bind(ALICE) == ALICE
    assert await bindings.peek(second) == ALICE


async def test_a_lock_that_is_held_too_long_is_a_doubt(tmp_path: Path) -> None:
    bindings = make(tmp_path)
    file = tmp_path / FILE
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DirectoryDoubt, match="locked"):
            await bindings.bind(ALICE)
    assert await bindings.bind(ALICE) == ALICE


async def test_what_sql_would_read_is_only_text(tmp_path: Path) -> None:
    bindings = make(tmp_path)
    odd = Binding(ISSUER, "'; DROP TABLE binding; --", "o'brien")
    assert await bindings.bind(odd) == odd
    assert await bindings.bind(Binding(ISSUER, "x", "o'brien")) == odd


RACE = """
import asyncio, sys
from pathlib import Path
from gateway.edges.bindings import BindingsFile
from gateway.edges.few_threads import FewThreads
from gateway.stages.map_user import Binding

async def main():
    bindings = BindingsFile(Path(sys.argv[1]), FewThreads(2))
    for user in range(30):
        print((await bindings.bind(Binding("https://i", sys.argv[2], f"u{user}-{sys.argv[2]}"))).subject)
    for user in range(30):
        print((await bindings.bind(Binding("https://i", f"{sys.argv[2]}-{user}", f"u{user}"))).subject)

asyncio.run(main())
"""


def test_of_several_processes_exactly_one_binds_a_user(tmp_path: Path) -> None:
    path = tmp_path / "bindings.sqlite"
    BindingsFile(path, FewThreads(1)).create()
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(path), name],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("a", "b", "c")
    ]
    printed = [process.communicate(timeout=60)[0].splitlines() for process in racing]
    assert [process.returncode for process in racing] == [0, 0, 0]
    assert [lines[:30] for lines in printed] == [[name] * 30 for name in "abc"]
    assert printed[0][30:] == printed[1][30:] == printed[2][30:]
