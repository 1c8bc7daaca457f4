"""`audit verify` on the command line: what it prints and what it exits with."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.audit_writer import CHAIN, Writer, key_file, request


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    made = Writer(head_every=5)
    for number in range(20):
        made.write("end", **request(f"r{number}"))
    (tmp_path / "key.json").write_text(key_file())
    (tmp_path / "audit.jsonl").write_bytes(b"".join(made.lines))
    return made


def run(folder: Path, *arguments: str) -> Result:
    key, file = str(folder / "key.json"), str(folder / "audit.jsonl")
    return CliRunner().invoke(main, ["audit", "verify", "--key-file", key, file, *arguments])


def test_a_sound_chain_exits_with_0_and_says_what_cannot_be_known(
    tmp_path: Path, writer: Writer
) -> None:
    result = run(tmp_path)
    assert result.exit_code == 0
    assert f"Chain {CHAIN}" in result.output
    assert f"whether lines behind {writer.seq} were cut off" in result.output
    assert "whether the gateway wrote the truth" in result.output
    assert "Sound" in result.output


def test_tampering_exits_with_1_and_names_file_line_number_and_time(
    tmp_path: Path, writer: Writer
) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"r7"', b'"rX"'))
    result = run(tmp_path)
    assert result.exit_code == 1
    assert f"{path}:9: line 9 (2026-03-01T12:00:00.090000Z): changed" in result.output
    (finding,) = json.loads(run(tmp_path, "--json").stdout)["findings"]
    assert (finding["kind"], finding["first_seq"], finding["line"]) == ("changed", 9, 9)


def test_a_kept_head_finds_what_was_cut_off(tmp_path: Path, writer: Writer) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(writer.lines[:-3]))
    assert run(tmp_path).exit_code == 0
    result = run(tmp_path, "--head", f"{writer.seq}:{writer.mac.hex()}")
    assert result.exit_code == 1
    assert f"lines {writer.seq - 2} to {writer.seq}" in result.output
    assert "cut off" in result.output


def test_heads_may_come_as_lines_that_a_remote_sink_has_kept(
    tmp_path: Path, writer: Writer
) -> None:
    kept = tmp_path / "remote.log"
    kept.write_bytes(
        b"# the officer's\n" + b"".join(b"<134>1 - gateway: " + line for line in writer.lines)
    )
    assert run(tmp_path, "--heads-file", str(kept)).exit_code == 0
    (tmp_path / "audit.jsonl").write_bytes(b"".join(writer.lines[:5]))
    result = run(tmp_path, "--heads-file", str(kept))
    assert result.exit_code == 1
    assert "cut off" in result.output


@pytest.mark.parametrize(
    "content",
    ["", "{}", "[]", '{"chain":"x","key":"00"}', '{"chain":1,"key":"' + "00" * 32 + '"}', "\xff"],
)
def test_a_wrong_key_file_exits_with_2_and_shows_nothing_of_it(
    tmp_path: Path, writer: Writer, content: str
) -> None:
    (tmp_path / "key.json").write_text(content)
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "is no key file" in result.output


def test_a_later_key_is_refused(tmp_path: Path, writer: Writer) -> None:
    later = json.loads(key_file()) | {"epoch": 3}
    (tmp_path / "key.json").write_text(json.dumps(later))
    assert "the initial one is needed" in run(tmp_path).output


def test_a_file_that_cannot_be_read_exits_with_2_although_the_rest_is_sound(
    tmp_path: Path, writer: Writer
) -> None:
    result = run(tmp_path, str(tmp_path / "gone.jsonl"))
    assert result.exit_code == 2
    assert "gone.jsonl cannot be read: No such file or directory" in result.output


def test_what_stands_in_a_line_cannot_disturb_the_terminal(tmp_path: Path, writer: Writer) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(path.read_bytes() + b"\x1b[2J\x9b31m\n")
    result = run(tmp_path)
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert "\x9b" not in result.output
