"""Findings of a command -> lines with ✓, ! or ✗, coloured on a terminal, and an exit code."""

from pathlib import Path

import click

from gateway.config.problem import ConfigurationError, Problem

_INDENT = 4


def report_mistakes(error: ConfigurationError, config: Path) -> None:
    """Every mistake of a configuration, on standard error."""
    count = len(error.problems)
    click.echo(f"{config}: {count} mistake{'s' if count != 1 else ''}\n", err=True)
    for problem in error.problems:
        click.echo(f"  {problem}", err=True)


class Findings:
    """Prints what is found as it is found, and remembers whether anything was wrong."""

    def __init__(self) -> None:
        self.wrong = 0
        self.doubtful = 0

    def heading(self, text: str) -> None:
        """What the next lines are about."""
        click.echo(click.style(text, bold=True))

    def good(self, text: str) -> None:
        """Something is as it should be."""
        self._line("✓", "green", text)

    def doubt(self, text: str, remedy: str = "") -> None:
        """Something is permitted, but should be meant."""
        self.doubtful += 1
        self._line("!", "yellow", text, remedy)

    def bad(self, text: str, remedy: str = "") -> None:
        """Something is wrong."""
        self.wrong += 1
        self._line("✗", "red", text, remedy)

    def doubts(self, problems: list[Problem]) -> None:
        """Several doubts about the configuration."""
        for problem in problems:
            self.doubt(f"{problem.place}: {problem.what}", problem.remedy)

    def _line(self, mark: str, colour: str, text: str, remedy: str = "") -> None:
        lines = [line for line in text.splitlines() if line.strip()] or [""]
        click.echo(f"  {click.style(mark, fg=colour)} {lines[0]}")
        for line in lines[1:]:
            click.echo(f"{' ' * _INDENT}{line.strip()}")
        if remedy:
            click.echo(click.style(f"{' ' * _INDENT}→ {remedy}", dim=True))

    def exit_code(self) -> int:
        """0 where nothing is wrong; the last line says so."""
        doubts = f", {self.doubtful} to think over" if self.doubtful else ""
        if self.wrong:
            click.echo(f"\n{click.style('Not ready', fg='red')}: {self.wrong} wrong{doubts}.")
            return 1
        click.echo(f"\n{click.style('Ready', fg='green')}{doubts}.")
        return 0
