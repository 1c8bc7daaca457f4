"""docs/client.md says what the client says of itself."""

from pathlib import Path

import click
import pytest

from gateway.client.commands import COMMANDS
from gateway.client.submit.page import render
from gateway.client.trouble import MEANINGS

PAGE = (Path(__file__).parents[3] / "docs/client.md").read_text()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.name))
def test_every_command_stands_in_the_list(command: click.Command) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{command.name}` |")]
    assert len(rows) == 1
    assert rows[0].endswith(f"| {command.get_short_help_str(200)} |")


def test_every_exit_code_stands_in_the_list() -> None:
    for code, meaning in MEANINGS.items():
        assert f"| {int(code)} | {meaning} |" in PAGE


def test_the_table_of_options_is_the_one_that_is_translated_by() -> None:
    page = Path(__file__).parents[3] / "docs/reference/sbatch-options.md"
    assert page.read_text() == render(), "run: python -m gateway.client.submit.page"
