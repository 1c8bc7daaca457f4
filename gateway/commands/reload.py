"""gateway.toml -> a checked request to the running gateway, and what came of it."""

import signal
import time
from collections.abc import Mapping
from pathlib import Path

import click

from gateway.commands.reporting import report_mistakes
from gateway.config.load import load
from gateway.config.problem import ConfigurationError
from gateway.edges.process_file import (
    Outcome,
    ProcessFileError,
    signal_running,
    wait_for_outcome,
)


def run(config: Path, environ: Mapping[str, str], timeout_seconds: float) -> int:
    """0 when the new configuration is in force, 1 when the old one still is."""
    try:
        state_directory = load(config, environ).server.state_directory
        since = time.monotonic_ns()
        pid = signal_running(state_directory, signal.SIGHUP)
    except ConfigurationError as error:
        report_mistakes(error, config)
        click.echo("\nNothing was changed.", err=True)
        return 1
    except ProcessFileError as error:
        click.echo(f"Nothing was changed: {error}", err=True)
        return 1
    outcome = wait_for_outcome(state_directory, since, timeout_seconds)
    return _tell(outcome, pid, config, timeout_seconds)


def _tell(outcome: Outcome | None, pid: int, config: Path, timeout_seconds: float) -> int:
    if outcome is None:
        click.echo(
            f"No answer from the gateway (pid {pid}) within {timeout_seconds:g} s;"
            " its log and /readyz tell what it does.",
            err=True,
        )
        return 1
    if outcome.problems:
        click.echo("Nothing was changed: the gateway refused.\n", err=True)
        for problem in outcome.problems:
            click.echo(f"  {problem}", err=True)
        return 1
    click.echo(f"Generation {outcome.generation} is in force (pid {pid}).")
    if Path(outcome.config).resolve() != config.resolve():
        click.echo(f"Mind: that gateway reads {outcome.config}, not {config}.", err=True)
    return 0
