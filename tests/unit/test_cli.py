"""The command line: what it says, what it exits with, and what it does not load."""

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gateway.cli import _SERVER_LIBRARIES, main
from lab.toml_text import to_toml
from tests.configurations import usable

CLIENT_LIBRARIES = frozenset({"authlib", "filelock", "httpx2", "keyring", "tabulate", "ssl"})
CLIENT = [
    "cancel",
    "completion",
    "diag",
    "history",
    "job",
    "jobs",
    "login",
    "logout",
    "manual",
    "nodes",
    "partitions",
    "ping",
    "run-folder",
    "slurm-token",
    "submit",
    "watch",
    "whoami",
]
COMMANDS = ["audit", "bindings", "check", "explain", "operations", "reload", "serve", "sessions"]


def run(*arguments: str, color: bool = False, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, arguments, color=color, env=env)


def in_fresh_python(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "gateway.toml"
    path.write_text(to_toml(usable(tmp_path, {"map_user": {"must_exist": False}})))
    return str(path)


def test_the_help_names_every_command_and_shows_how_to_begin() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for command in main.commands:
        assert f"\n  {command} " in result.output
    lists = result.output.partition("Client:")[2]
    assert "..." not in lists, "a first sentence that is too long for its line"
    assert "slurm-gateway check --config" in result.output


def test_each_command_has_a_help_with_an_example_or_exit_codes() -> None:
    assert sorted(main.commands) == sorted([*COMMANDS, *CLIENT])
    for command in main.commands:
        text = run(command, "--help").output
        assert "Examples:" in text or "xits with" in text or "Signals:" in text


@pytest.mark.parametrize(
    ("alias", "command"),
    [
        ("submit-job", "submit"),
        ("list-jobs", "jobs"),
        ("describe-job", "job"),
        ("cancel-job", "cancel"),
    ],
)
def test_old_names_of_commands_are_aliases(alias: str, command: str) -> None:
    assert run(alias, "--help").output.replace(alias, command) == run(command, "--help").output


def test_the_version_is_that_of_the_distribution() -> None:
    assert run("--version").output.startswith("slurm-gateway, version ")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["serve", "--help"], ["login", "--help"], ["--version"]]
)
def test_help_and_version_load_no_library_but_click(arguments: list[str]) -> None:
    """So that they are there at once, and on machines that have the client only."""
    code = (
        "import sys\nfrom gateway.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        f"loaded = {{*{sorted(_SERVER_LIBRARIES | CLIENT_LIBRARIES)!r}}} & sys.modules.keys()\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    done = in_fresh_python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_server_libraries_a_command_says_how_to_install_them(command: str) -> None:
    arguments = {
        "explain": ["explain", "GET", "/x", "--user", "alice"],
        "bindings": ["bindings", "list"],
        "sessions": ["sessions", "list"],
    }.get(command, [command])
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {set(_SERVER_LIBRARIES)!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        f"from gateway.cli import main\nmain({arguments!r})"
    )
    done = in_fresh_python(code)
    assert done.returncode == 1
    assert "pip install 'slurm-gateway[server]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_module_of_our_own_is_no_reason_to_install_something() -> None:
    code = (
        "import sys\nsys.modules['gateway.commands.check'] = None\n"
        "from gateway.cli import main\nmain(['check'])"
    )
    done = in_fresh_python(code)
    assert "pip install" not in done.stderr
    assert "ModuleNotFoundError" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "GET", "/slurm/v0.0.42/jobs"],
        ["explain", "GET", "/slurm/v0.0.42/jobs", "--user", "a", "--token-file", "t"],
        ["explain", "GET", "/slurm/v0.0.42/jobs", "--token-file", "t", "--role", "operator"],
        ["explain", "GET"],
        ["serve", "now"],
        ["bogus"],
        ["operations", "--risk", "READD"],
        ["operations", "--version", "42"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_exits_with_2_and_says_so(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.output


@pytest.mark.parametrize("command", sorted({*COMMANDS} - {"audit"}))
def test_a_command_tells_all_mistakes_of_the_configuration_and_exits_with_1(
    command: str, tmp_path: Path
) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text("[server]\nlisten = 'nowhere'\nbogus = 1\n")
    arguments = {
        "explain": ["explain", "GET", "/x", "--user", "alice"],
        "operations": ["operations", "--role", "user"],
        "bindings": ["bindings", "list"],
        "sessions": ["sessions", "list"],
    }.get(command, [command])
    result = run(*arguments, "--config", str(path))
    assert result.exit_code == 1
    for expected in ("server.listen: must be HOST:PORT", "server.bogus", "forward.upstream"):
        assert expected in result.output
    assert "Traceback" not in result.output


def test_the_configuration_may_be_named_by_the_environment(config: str) -> None:
    result = run("operations", "--role", "user", "--json", env={"SLURM_GATEWAY_CONFIG": config})
    assert result.exit_code == 0


def test_operations_lists_a_class_in_a_version() -> None:
    result = run("operations", "--risk", "submit", "--version", "v0.0.42", "--json")
    (operation,) = json.loads(result.stdout)
    assert operation == {
        "name": "POST /slurm/*/job/submit",
        "method": "POST",
        "path": "/slurm/{version}/job/submit",
        "versions": ["v0.0.42"],
        "risk": "SUBMIT",
        "changes_state": True,
        "takes_body": True,
        "summary": "Submit a batch job",
    }


def test_operations_of_a_role_are_what_it_may_call(config: str) -> None:
    result = run("operations", "--role", "user", "--json", "--config", config)
    risks = {operation["risk"] for operation in json.loads(result.stdout)}
    assert risks == {"READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE"}


def test_operations_of_no_role_exit_with_2_and_name_the_nearest(config: str) -> None:
    result = run("operations", "--role", "usr", "--config", config)
    assert result.exit_code == 2
    assert 'did you mean "user"?' in result.output


def test_operations_that_do_not_exist_exit_with_1() -> None:
    result = run("operations", "--risk", "SUBMIT", "--version", "v0.0.99")
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("color", "env", "coloured"),
    [(False, {}, False), (True, {}, True), (True, {"NO_COLOR": "1"}, False)],
    ids=["no terminal", "a terminal", "a terminal with NO_COLOR"],
)
def test_colours_are_for_terminals_only(color: bool, env: dict[str, str], coloured: bool) -> None:
    result = run("operations", "--risk", "ADMIN", color=color, env=env)
    assert ("\x1b[" in result.stdout) is coloured
    assert "ADMIN " in click.unstyle(result.stdout)


def test_reload_without_a_running_gateway_changes_nothing_and_says_so(config: str) -> None:
    result = run("reload", "--config", config)
    assert result.exit_code == 1
    assert "Nothing was changed: no gateway runs with" in result.output
