"""The commands that show and remove first uses: what they print and what they exit with."""

import asyncio
import json
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.app_store import make_store
from gateway.cli import main
from gateway.config.load import load
from gateway.edges.bindings import BindingsFile
from gateway.edges.few_threads import FewThreads
from gateway.edges.shared_bindings import SharedBindings
from gateway.stages.map_user import Binding
from lab.store import StoreServer
from lab.toml_text import to_toml
from tests.configurations import usable
from tests.store_world import settings_of

ISSUER = "https://idp.example.org"
OTHER = "https://other.example.org"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(to_toml(usable(tmp_path, {"map_user": {"must_exist": False}})))
    return path


@pytest.fixture
def file(config: Path) -> BindingsFile:
    (config.parent / "state").mkdir(exist_ok=True)
    made = BindingsFile(config.parent / "state/bindings.sqlite", FewThreads(1))
    made.create()
    for binding in (Binding(ISSUER, "1", "bob"), Binding(OTHER, "1", "alice")):
        asyncio.run(made.bind(binding))
    return made


def run(config: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["bindings", *arguments, "--config", str(config)])


def users(file: BindingsFile) -> list[str]:
    return [row.user for row in file.remembered()]


def test_the_table_has_a_line_for_each_user(config: Path, file: BindingsFile) -> None:
    result = run(config, "list")
    heading, first, second = result.stdout.splitlines()
    assert heading.split() == ["user", "subject", "issuer", "bound", "at"]
    assert first.split()[:3] == ["alice", "1", OTHER]
    assert second.split()[:3] == ["bob", "1", ISSUER]
    assert result.exit_code == 0


def test_programs_get_json_with_times_in_utc(config: Path, file: BindingsFile) -> None:
    found = json.loads(run(config, "list", "--json").stdout)
    assert [set(row) for row in found] == [{"user", "subject", "issuer", "bound_at"}] * 2
    assert all(row["bound_at"].endswith("Z") for row in found)


def test_where_nobody_is_bound_the_list_is_empty_and_nothing_can_be_removed(config: Path) -> None:
    result = run(config, "list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "No user is bound" in result.stderr
    assert run(config, "list", "--json").stdout == "[]\n"
    assert run(config, "remove", "--user", "alice").exit_code == 1
    assert not (config.parent / "state/bindings.sqlite").exists(), "looking makes no file"


@pytest.mark.parametrize("how", [("--user", "alice"), (OTHER, "1")])
def test_exactly_the_named_binding_is_removed_and_shown(
    config: Path, file: BindingsFile, how: tuple[str, str]
) -> None:
    result = run(config, "remove", *how)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split()[:3] == ["alice", "1", OTHER]
    assert users(file) == ["bob"]


@pytest.mark.parametrize("how", [("--user", "carol"), ("--user", ""), (OTHER, "2"), ("x", "1")])
def test_what_is_not_there_is_said_and_removes_nothing(
    config: Path, file: BindingsFile, how: tuple[str, str]
) -> None:
    result = run(config, "remove", *how)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no such binding" in result.stderr
    assert users(file) == ["alice", "bob"]


@pytest.mark.parametrize("how", [(), (ISSUER,), (ISSUER, "1", "--user", "bob"), ("a", "b", "c")])
def test_half_a_name_or_two_are_misuse(
    config: Path, file: BindingsFile, how: tuple[str, ...]
) -> None:
    result = run(config, "remove", *how)
    assert result.exit_code == 2
    assert users(file) == ["alice", "bob"]


def test_a_subject_cannot_speak_to_the_terminal(config: Path, file: BindingsFile) -> None:
    asyncio.run(file.bind(Binding(ISSUER, "\x1b[2J\x9b2J\r\nroot", "carol")))
    shown = run(config, "list").stdout
    assert "\\u001b[2J\\u009b2J\\r\\nroot" in shown
    assert "\x1b" not in shown


def test_a_file_that_is_no_database_is_said(config: Path, file: BindingsFile) -> None:
    (config.parent / "state/bindings.sqlite").write_bytes(b"no database" * 1000)
    for arguments in (("list",), ("remove", "--user", "alice")):
        result = run(config, *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "cannot be used" in result.stderr


def test_a_configuration_with_mistakes_is_reported(config: Path) -> None:
    config.write_text("[server]\nbogus = 1\n")
    assert run(config, "list").exit_code == 1
    assert run(config, "remove", "--user", "alice").exit_code == 1


def test_bindings_in_a_store_are_listed_and_removed_in_the_same_way(
    tmp_path: Path, store_server: StoreServer
) -> None:
    cluster = f"c{uuid.uuid4().hex}"
    changes = {"server": {"cluster": cluster}, **settings_of(store_server)}
    config = tmp_path / "gateway.toml"
    config.write_text(to_toml(usable(tmp_path, changes)))
    settings = load(config, {})

    async def bind() -> None:
        store = make_store(settings.store, cluster)
        bindings = SharedBindings(store, settings.server.state_directory)
        for binding in (Binding(ISSUER, "1", "bob"), Binding(OTHER, "1", "alice")):
            await bindings.bind(binding)
        await store.close()

    assert run(config, "list").exit_code == 0
    asyncio.run(bind())
    found = json.loads(run(config, "list", "--json").stdout)
    assert [row["user"] for row in found] == ["alice", "bob"]
    assert run(config, "remove", ISSUER, "1").exit_code == 0
    assert run(config, "remove", ISSUER, "1").exit_code == 1
    assert [row["user"] for row in json.loads(run(config, "list", "--json").stdout)] == ["alice"]


def test_a_store_that_is_away_is_told(tmp_path: Path) -> None:
    config = tmp_path / "gateway.toml"
    away = {"store": {"address": f"unix:{tmp_path}/nobody.sock"}}
    config.write_text(to_toml(usable(tmp_path, away)))
    result = run(config, "list")
    assert result.exit_code == 1
    assert "nobody.sock" in result.stderr
