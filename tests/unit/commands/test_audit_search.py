"""`audit search` and `audit follow` on the command line."""

import hmac
import json
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.edges.process_file import HASH_KEY_FILE
from tests.audit_writer import Writer, request
from tests.configurations import write_configuration
from tests.serving import ENVIRONMENT, PROGRAM

TOKEN = "the.secret.token"


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["audit", *arguments], input=stdin)


@pytest.fixture
def config(tmp_path: Path) -> str:
    """A configuration whose audit has three requests, the first of them in a rotated file."""
    state, log = tmp_path / "state", tmp_path / "audit.jsonl"
    state.mkdir()
    (state / HASH_KEY_FILE).write_bytes(b"h" * 32)
    hashed = hmac.digest(b"h" * 32, TOKEN.encode(), "sha256")[:16].hex()
    writer = Writer()
    writer.write("end", **request("r1"))
    writer.write("denied", **request("r2", verdict="denied", code="token-invalid", status=401))
    writer.write("end", **request("r3", token_hash=hashed, target="/x\x1b[2J\u202e", job_ids=["7"]))
    (tmp_path / "audit-20260301T120000.000000Z.jsonl").write_bytes(writer.lines[0])
    log.write_bytes(b"".join(writer.lines[1:]))
    changes = {
        "server": {"state_directory": str(state)},
        "audit": {"sinks": [{"type": "file", "path": str(log)}]},
    }
    return str(write_configuration(tmp_path, changes))


def test_without_files_those_of_the_configuration_are_searched(config: str) -> None:
    result = run("search", "--config", config)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "TIME",
        "USER",
        "STATUS",
        "CODE",
        "OPERATION",
        "JOBS",
        "ADDRESS",
        "REQUEST",
    ]
    assert [line.split()[-1] for line in lines[1:]] == ["r1", "r2", "r3"]
    assert "401" in lines[2]
    assert "token-invalid" in lines[2]


def test_nothing_in_a_record_reaches_the_terminal_as_it_is(config: str) -> None:
    for arguments in ([], ["--json"], ["--raw"]):
        result = run("search", "--config", config, *arguments)
        assert "\x1b" not in result.stdout
        assert "\u202e" not in result.stdout
    assert r"/x\x1b[2J\u202e" in run("search", "--config", config).stdout


def test_json_is_one_record_a_line_and_limit_counts_rows(config: str) -> None:
    result = run("search", "--config", config, "--json", "--limit", "2")
    assert [json.loads(line)["request_id"] for line in result.stdout.splitlines()] == ["r1", "r2"]


@pytest.mark.parametrize("from_stdin", [True, False])
def test_a_token_is_found_by_its_hash(tmp_path: Path, config: str, from_stdin: bool) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    source = "-" if from_stdin else str(tmp_path / "token")
    arguments = ("search", "--config", config, "--token-file", source, "--json")
    result = run(*arguments, stdin=TOKEN if from_stdin else None)
    assert [json.loads(line)["request_id"] for line in result.stdout.splitlines()] == ["r3"]


def test_nothing_found_is_1_and_a_damaged_line_is_2(tmp_path: Path, config: str) -> None:
    assert run("search", "--config", config, "--user", "nobody").exit_code == 1
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b"damaged\n")
    result = run("search", "--config", config, "--user", "alice")
    assert result.exit_code == 2
    assert "audit.jsonl:3: no line of an audit" in result.stderr
    assert len(result.stdout.splitlines()) == 4


@pytest.mark.parametrize(
    "arguments",
    [
        ["--since", "soon"],
        ["--address", "nowhere"],
        ["--token-file", "/nonexistent/token"],
        ["--token-file", "-", "--token-hash", "00"],
        ["--verdict", "perhaps"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_exits_with_2(config: str, arguments: list[str]) -> None:
    assert run("search", "--config", config, *arguments).exit_code == 2


def test_follow_prints_each_request_as_it_ends_over_a_rotation(tmp_path: Path) -> None:
    path, writer = tmp_path / "audit.jsonl", Writer()
    command = [
        str(PROGRAM),
        "audit",
        "follow",
        str(path),
        "--user",
        "alice",
        "--limit",
        "3",
        "--json",
        "--from-start",  # else what is written before the program looks would be passed over
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        try:
            for number in range(3):
                writer.write("begin", **request(f"r{number}"))
                writer.write("end", **request("b", user="bob"))
                line = writer.write("end", **request(f"r{number}"))
                with path.open("ab") as file:
                    file.write(b"".join(writer.lines[-3:]))
                assert line in writer.lines
                assert json.loads(process.stdout.readline())["request_id"] == f"r{number}"
                path.rename(tmp_path / f"audit-{number}.jsonl")
            assert process.wait(60) == 0
        finally:
            process.kill()
