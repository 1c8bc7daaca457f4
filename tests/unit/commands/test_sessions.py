"""The commands that show and end sessions: what they print and what they exit with."""

import asyncio
import json
import time
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.app_store import make_store
from gateway.cli import main
from gateway.config.load import load
from gateway.edges.session_store import SqliteSessionStore
from gateway.edges.shared_sessions import SharedSessions
from gateway.sign_in.session import Room, Session, hash_of
from lab.store import StoreServer
from lab.toml_text import to_toml
from tests.configurations import usable
from tests.store_world import settings_of

ISSUER = "https://idp.example.org"
OTHER = "https://other.example.org"


def session(name: str, subject: str, issuer: str = ISSUER, age: float = 0.0) -> Session:
    now = time.time() - age
    sealed = b"canary"
    return Session(
        hash_of(name),
        "campus",
        issuer,
        subject,
        "",
        now,
        now,
        now + 9e4,
        now,
        "192.0.2.7",
        "x",
        sealed,
    )


LIVING = [
    session("a", "alice"),
    session("b", "alice", OTHER, 60),
    session("c", "bob\x1b[2J", age=120),
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(to_toml(usable(tmp_path, {"map_user": {"must_exist": False}})))
    asyncio.run(fill(tmp_path / "state/sessions.sqlite"))
    return path


async def fill(path: Path) -> None:
    store = SqliteSessionStore(path)
    store.create_file()
    for one in (*LIVING, session("over", "alice", age=80_000)):
        await store.create(one, Room(10, 10))
    await store.close()


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["sessions", *arguments, "--config", str(config)])


def left(config: Path) -> list[str]:
    return [row["session"] for row in json.loads(run(config, "list", "--json").stdout)]


def test_the_table_has_a_line_for_each_living_session_the_last_used_first(config: Path) -> None:
    result = run(config, "list")
    heading, *rows = result.stdout.splitlines()
    assert heading.split()[:3] == ["session", "subject", "issuer"]
    assert [row.split()[0] for row in rows] == [one.handle for one in LIVING]
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout


def test_nothing_that_is_shown_lets_anybody_in(config: Path) -> None:
    shown = run(config, "list").stdout + run(config, "list", "--json").stdout
    assert "canary" not in shown
    assert all(one.id_hash not in shown for one in LIVING)


@pytest.mark.parametrize(
    ("arguments", "gone"),
    [
        ([LIVING[0].handle], [0]),
        (["--subject", "alice"], [0, 1]),
        (["--subject", "alice", "--issuer", OTHER], [1]),
        (["--all"], [0, 1, 2]),
    ],
)
def test_what_is_named_is_ended(config: Path, arguments: list[str], gone: list[int]) -> None:
    result = run(config, "end", *arguments)
    assert result.exit_code == 0
    assert "refuses them within two seconds" in result.stderr
    assert left(config) == [one.handle for n, one in enumerate(LIVING) if n not in gone]


@pytest.mark.parametrize("arguments", [["0123456789abcdef"], ["--subject", "nobody"]])
def test_ending_nothing_is_said(config: Path, arguments: list[str]) -> None:
    result = run(config, "end", *arguments)
    assert result.exit_code == 1
    assert "no such session" in result.stderr
    assert len(left(config)) == 3


@pytest.mark.parametrize(
    "arguments", [[], ["a", "--all"], ["--issuer", ISSUER], ["a", "--subject", "b"]]
)
def test_what_is_not_clear_is_not_done(config: Path, arguments: list[str]) -> None:
    assert run(config, "end", *arguments).exit_code == 2
    assert len(left(config)) == 3


def test_where_nobody_ever_signed_in_there_is_nobody(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(to_toml(usable(tmp_path)))
    result = run(path, "list")
    assert (result.exit_code, result.stderr) == (0, "Nobody is signed in.\n")


def test_a_file_that_is_none_is_an_error(config: Path) -> None:
    (config.parent / "state/sessions.sqlite").write_bytes(b"no database at all" * 100)
    result = run(config, "list")
    assert result.exit_code == 1
    assert "cannot be used" in result.stderr


def test_sessions_in_a_store_are_listed_and_ended_in_the_same_way(
    tmp_path: Path, store_server: StoreServer
) -> None:
    cluster = f"c{uuid.uuid4().hex}"
    changes = {"server": {"cluster": cluster}, **settings_of(store_server)}
    config = tmp_path / "gateway.toml"
    config.write_text(to_toml(usable(tmp_path, changes)))
    section = load(config, {}).store

    async def sign_in() -> None:
        store = make_store(section, cluster)
        for one in (*LIVING, session("over", "alice", age=80_000)):
            await SharedSessions(store).create(one, Room(10, 10))
        await store.close()

    assert left(config) == []
    asyncio.run(sign_in())
    assert left(config) == [one.handle for one in LIVING]
    assert run(config, "end", LIVING[0].handle).exit_code == 0
    assert run(config, "end", LIVING[0].handle).exit_code == 1
    assert left(config) == [one.handle for one in LIVING[1:]]


def test_a_store_that_is_away_is_told(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    away = {"store": {"address": f"unix:{tmp_path}/nobody.sock"}}
    config.write_text(to_toml(usable(tmp_path, away)))
    result = run(config, "list")
    assert result.exit_code == 1
    assert "nobody.sock" in result.stderr
