"""A gateway as a process: what it wrote is found, followed and summed up by its configuration alone."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.configurations import token_for
from tests.serving import ENVIRONMENT, PROGRAM, READ, Served, served

JOBS = "/slurm/v0.0.42/jobs"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Served]:
    """One that has refused a request without a token and passed two on to nowhere."""
    with served(tmp_path, {"forward": {"upstream": "http://127.0.0.1:1"}}) as running:
        assert running.ask(JOBS)[0] == 401
        assert running.ask(JOBS, token_for("alice"))[0] == 502
        assert running.ask(READ, token_for("bob"))[0] == 502
        yield running


def found(gateway: Served, *arguments: str) -> list[dict[str, Any]]:
    """Rows of `audit search`, once the answer's last line is written."""
    done = gateway.run("audit", "search", "--json", *arguments)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_requests_are_found_by_user_verdict_code_time_and_token(
    gateway: Served, tmp_path: Path
) -> None:
    token = token_for("carol")
    assert gateway.ask(READ, token)[0] == 502
    (tmp_path / "token").write_text(token)
    assert [row["user"] for row in found(gateway)] == ["", "alice", "bob", "carol"]
    (alice,) = found(gateway, "--user", "alice", "--since", "5m")
    assert (alice["target"], alice["code"]) == (JOBS, "upstream-unreachable")
    assert [row["code"] for row in found(gateway, "--verdict", "denied", "--code", "token-missing")]
    assert found(gateway, "--since", "2040-01-01") == []
    (carol,) = found(gateway, "--token-file", str(tmp_path / "token"))
    assert carol["user"] == "carol"
    assert found(gateway, "--request", carol["request_id"]) == [carol]
    assert len(found(gateway, "--address", "127.0.0.0/8")) == 4


def test_the_report_names_users_classes_codes_and_versions(gateway: Served) -> None:
    done = gateway.run("audit", "report", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["requests"] == 3
    assert document["refusals_by_code"] == {"upstream-unreachable": 2, "token-missing": 1}
    counted = [tuple(row.values()) for row in document["by_user_class_verdict"]]
    assert sorted(counted) == [
        ("-", "READ-HEAVY", "denied", 1),
        ("alice", "READ-HEAVY", "granted", 1),
        ("bob", "READ", "granted", 1),
    ]
    assert [row["version"] for row in document["api_versions"]].count("v0.0.42") >= 1


def test_follow_shows_what_is_asked_while_it_runs(gateway: Served) -> None:
    command = [str(PROGRAM), "audit", "follow", "--user", "dave", "--limit", "2", "--json"]
    # From the start: how long the program takes until it has opened the file is not known.
    command += ["--from-start", "--config", str(gateway.file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        try:
            assert process.stdout is not None
            for _ in range(2):
                gateway.ask(READ, token_for("erin"))
                gateway.ask(READ, token_for("dave"))
                assert json.loads(process.stdout.readline())["user"] == "dave"
            assert process.wait(60) == 0
        finally:
            process.kill()
