"""`audit report` on the command line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.commands.audit_report import blocks
from tests.audit_writer import Writer, request


@pytest.fixture
def path(tmp_path: Path) -> Path:
    writer, path = Writer(), tmp_path / "audit.jsonl"
    for number in range(30):
        user = f"user{number % 12}\x1b[2J"
        writer.write("end", **request(f"r{number}", user=user, bytes_out=1_500_000))
    writer.write("denied", **request("r", verdict="denied", code="token-invalid", user=""))
    path.write_bytes(b"".join(writer.lines))
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["audit", "report", *arguments])


def test_it_sums_up_and_says_what_it_leaves_out(path: Path) -> None:
    result = run(str(path), "--top", "3")
    assert result.exit_code == 0
    assert "31 requests from 2026-03-01 12:00:00Z to 2026-03-01 12:00:00Z" in result.stdout
    assert "token-invalid" in result.stdout
    assert "v0.0.42" in result.stdout
    assert "4.5 MB" in result.stdout
    assert "and 10 more (--top)" in result.stdout
    assert "\x1b" not in result.stdout
    assert "▁" not in result.stdout


def test_the_same_for_programs(path: Path) -> None:
    document = json.loads(run(str(path), "--json").stdout)
    assert document["requests"] == 31
    assert document["refusals_by_code"] == {"token-invalid": 1}
    assert document["by_user_class_verdict"][0]["class"] == "READ-HEAVY"
    assert len(document["users"]) == 13
    assert document["histogram"] == [{"granted": 30, "denied": 1}]


def test_filters_choose_what_is_counted(path: Path) -> None:
    document = json.loads(run(str(path), "--json", "--verdict", "denied").stdout)
    assert document["requests"] == 1


def test_nothing_counted_is_1_and_a_damaged_line_is_2(path: Path) -> None:
    assert run(str(path), "--user", "nobody").exit_code == 1
    path.write_bytes(path.read_bytes() + b"damaged\n")
    result = run(str(path))
    assert result.exit_code == 2
    assert "audit.jsonl:32: no line of an audit" in result.stderr


def test_the_smallest_count_shows_and_the_highest_fills_its_column() -> None:
    assert blocks([0, 1, 500, 1000], 1000) == " ▁▄█"
    assert blocks([], 0) == ""
