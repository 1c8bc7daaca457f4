"""New chains, one for each worker: initial keys to the officer, the keys they begin with to the state directory."""

import os
from collections.abc import Iterator
from pathlib import Path

import click

from gateway.app_workers import worker_directory
from gateway.audit.chain import KEY_BYTES, new_chain_key
from gateway.commands.process import prepare_worker_directory
from gateway.commands.reporting import report_mistakes
from gateway.config.gateway import Gateway
from gateway.config.load import load
from gateway.config.problem import ConfigurationError
from gateway.edges.audit_state import INITIAL_KEY_FILE, KEY_FILE, forget_tip, write_key
from gateway.edges.process_file import (
    ProcessFileError,
    is_gateway_running,
    prepare_state_directory,
)


@click.command(
    epilog="""\b
Examples:
  slurm-gateway audit init --key-file /media/officer/audit-2026.key
"""
)
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    envvar="SLURM_GATEWAY_CONFIG",
    default="/etc/slurm-gateway/gateway.toml",
    show_default=True,
    help="The configuration file.",
)
@click.option(
    "--key-file",
    required=True,
    type=click.Path(path_type=Path),
    help="Where the initial key goes; it must not exist yet. Keep it away from this machine.",
)
@click.pass_context
def init(context: click.Context, config: Path, key_file: Path) -> None:
    """Begin a new audit chain, and hand over the key that proves it.

    The gateway must not run. Its state directory gets the key as well, but forgets it with the first
    move of the key: from then on only the key file proves what was written before. An older chain
    ends; the first line of the new one says so.

    With server.workers above 1 each worker has a chain of its own, and the key files end in .1, .2 and
    so on: `audit verify` takes all of them.
    """
    try:
        gateway = load(config, os.environ)
        directory = gateway.server.state_directory
        prepare_state_directory(directory)
    except ConfigurationError as error:
        report_mistakes(error, config)
        context.exit(1)
    except ProcessFileError as error:
        raise click.ClickException(str(error)) from error
    if is_gateway_running(directory):
        raise click.ClickException(f"a gateway runs with {directory}: stop it first")
    try:
        for place, file in _places(gateway, key_file):
            chain = _begin(place, file)
            click.echo(f"The chain {chain} begins with the gateway's next start.")
            click.echo(
                f"Carry {file} away: it verifies the chain, and whoever has it can forge it."
            )
    except OSError as error:
        raise click.ClickException(f"{error.filename or directory}: {error.strerror}") from error


def _places(gateway: Gateway, key_file: Path) -> Iterator[tuple[Path, Path]]:
    """(where a chain's state is, where its initial key goes)."""
    workers = gateway.server.workers
    if workers == 1:
        yield gateway.server.state_directory, key_file
        return
    for number in range(1, workers + 1):
        prepare_worker_directory(gateway, number)
        place = worker_directory(gateway, number)
        _give_to_owner(gateway.server.state_directory, place)
        yield place, key_file.with_name(f"{key_file.name}.{number}")


def _begin(directory: Path, key_file: Path) -> str:
    """The chain's name. Raises OSError."""
    key = new_chain_key(os.urandom(KEY_BYTES))
    write_key(key_file, key, is_new=True)
    write_key(directory / KEY_FILE, key)
    _give_to_owner(directory, directory / KEY_FILE)
    forget_tip(directory)
    (directory / INITIAL_KEY_FILE).unlink(missing_ok=True)
    return key.chain


def _give_to_owner(directory: Path, path: Path) -> None:
    """Whoever runs the gateway has to read it, and this may be root."""
    owner = directory.stat()
    if owner.st_uid != os.geteuid():
        os.chown(path, owner.st_uid, owner.st_gid)
