"""The options that every command which asks a gateway has, and what it does with trouble."""

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from gateway.client.trouble import Exit, Trouble, printable

COMMON = ("gateway", "profile", "ca_file", "api_version", "timeout_seconds", "as_json")
_SECONDS = 60.0
_MOST_CHARACTERS = 4096


@dataclass(frozen=True, slots=True)
class Options:
    """Where to ask and how to answer, as it was typed or stands in the environment."""

    gateway: str | None = None
    profile: str | None = None
    ca_file: Path | None = None
    api_version: str | None = None
    timeout_seconds: float = _SECONDS
    as_json: bool = False


_OPTIONS = (
    click.option(
        "--gateway",
        metavar="URL",
        envvar="SLURM_GATEWAY_URL",
        help="The gateway to ask; that of the profile by default.",
    ),
    click.option(
        "--profile",
        metavar="NAME",
        envvar="SLURM_GATEWAY_PROFILE",
        help="The sign-in to use; the latest by default.",
    ),
    click.option(
        "--ca-file",
        metavar="FILE",
        envvar="SLURM_GATEWAY_CA_FILE",
        type=click.Path(path_type=Path),
        help="Trust these authorities (PEM) instead of the system's.",
    ),
    click.option(
        "--api-version",
        metavar="V",
        envvar="SLURM_GATEWAY_API_VERSION",
        help="Ask in this version, such as v0.0.42, instead of the newest.",
    ),
    click.option(
        "--timeout",
        "timeout_seconds",
        metavar="SECONDS",
        type=click.FloatRange(min=0, min_open=True),
        default=_SECONDS,
        show_default=True,
        help="How long to wait for an answer.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON for programs."),
)


class ClientCommand(click.Command):
    """A command whose troubles are one sentence on standard error and a documented exit code."""

    def invoke(self, context: click.Context) -> Any:
        """Run it. Exits with what it returns."""
        try:
            sys.exit(super().invoke(context))
        except Trouble as trouble:
            tell(trouble, as_json=bool(context.params.get("as_json")))
            sys.exit(int(trouble.code))
        except KeyboardInterrupt:
            click.echo(err=True)
            sys.exit(int(Exit.INTERRUPTED))


def tell(trouble: Trouble, *, as_json: bool) -> None:
    """What is wrong and what to do, on standard error."""
    if as_json:
        click.echo(json.dumps(trouble.facts()), err=True)
        return
    sentence, remedy = (
        printable(words, _MOST_CHARACTERS) for words in (trouble.sentence, trouble.remedy)
    )
    click.echo(f"{click.style('Error:', fg='red')} {sentence}", err=True)
    if remedy:
        click.echo(click.style(f"  → {remedy}", dim=True), err=True)


def client_command(
    name: str, *, epilog: str, cls: type[ClientCommand] = ClientCommand
) -> Callable[[Callable[..., int]], click.Command]:
    """Make a command of a function (Options, its own parameters by name) -> exit code."""

    def make(function: Callable[..., int]) -> click.Command:
        @functools.wraps(function)
        def called(**given: Any) -> int:
            options = Options(**{key: given.pop(key) for key in COMMON})
            return function(options, **given)

        wrapped = called
        for option in reversed(_OPTIONS):
            wrapped = option(wrapped)
        return click.command(name, cls=cls, epilog=epilog)(wrapped)

    return make


def load_run(name: str) -> Any:
    """The `run` of a command, with all that it needs, only now."""
    return import_module(f"gateway.client.runs.{name}").run
