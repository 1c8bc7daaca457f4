"""docs/client.md says what the client says of itself."""

import shlex
from pathlib import Path

import click
import pytest

from gateway.cli import main
from gateway.client.commands import COMMANDS
from gateway.client.submit.page import render
from gateway.client.submit.table import read_options
from gateway.client.submit.words import read_words
from gateway.client.trouble import MEANINGS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/client.md").read_text()
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.name))
def test_every_command_stands_in_the_list(command: click.Command) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{command.name}` |")]
    assert len(rows) == 1
    assert rows[0].endswith(f"| {command.get_short_help_str(200)} |")


def recorded() -> list[str]:
    """What was typed in the recording of the first five minutes."""
    block = README.partition("```console\n")[2].partition("\n```")[0]
    return [line[2:] for line in block.splitlines() if line.startswith("$ slurm-gateway ")]


def test_the_recording_shows_the_first_five_minutes() -> None:
    words = {shlex.split(line)[1] for line in recorded()}
    assert {"login", "whoami", "submit", "watch", "jobs", "run-folder", "logout"} <= words


@pytest.mark.parametrize("line", recorded())
def test_what_is_typed_in_the_recording_can_be_typed(line: str) -> None:
    """Each command and each of its options exists, sbatch's too."""
    _, name, *arguments = shlex.split(line)
    command = main.get_command(click.Context(main), name)
    assert command is not None
    parsed = command.make_context(name, arguments)
    if name == "submit":
        read_words(parsed.params["words"], read_options(), "the recording")


def test_every_exit_code_stands_in_the_list() -> None:
    for code, meaning in MEANINGS.items():
        assert f"| {int(code)} | {meaning} |" in PAGE


def test_the_table_of_options_is_the_one_that_is_translated_by() -> None:
    page = Path(__file__).parents[3] / "docs/reference/sbatch-options.md"
    assert page.read_text() == render(), "run: python -m gateway.client.submit.page"
