"""The client's commands: what they are called, what they take and what their help says. Nothing else is loaded."""

from pathlib import Path
from typing import Any

import click

from gateway.client.commands_cluster import ALIASES, CLUSTER_COMMANDS
from gateway.client.commands_folder import run_folder
from gateway.client.commands_submit import submit
from gateway.client.commands_token import slurm_token
from gateway.client.options import Options, client_command, load_run

__all__ = ["ALIASES", "COMMANDS"]
_path = click.Path(path_type=Path)


@client_command(
    "login",
    epilog="""\b
Examples:
  slurm-gateway login https://slurm.example.org
  slurm-gateway login https://slurm.example.org --device
  slurm-gateway login https://slurm.example.org --client-credentials --client-id nightly \\
      --client-secret-file secret.txt
  slurm-gateway login https://slurm.example.org --token-file /run/secrets/token
""",
)
@click.argument("url", required=False)
@click.option("--browser", "way", flag_value="browser", help="By a browser on this machine.")
@click.option("--device", "way", flag_value="device", help="By a code, on any device.")
@click.option(
    "--client-credentials",
    "way",
    flag_value="client-credentials",
    help="As a machine, with --client-id and a secret.",
)
@click.option(
    "--token-file", type=_path, help="With a token that something else keeps fresh in this file."
)
@click.option("--issuer", metavar="URL", help="Whom to sign in at, where the gateway trusts many.")
@click.option("--client-id", metavar="ID", help="As this client instead of the gateway's own.")
@click.option(
    "--client-secret-file",
    "secret_file",
    type=_path,
    help="The client's secret; SLURM_GATEWAY_CLIENT_SECRET by default.",
)
@click.option("--scope", "scopes", metavar="SCOPE", multiple=True, help="Ask for this scope.")
@click.option(
    "--store",
    type=click.Choice(["auto", "keyring", "file"]),
    default="auto",
    show_default=True,
    help="Where tokens are kept; auto is the keyring, or a 0600 file where there is none.",
)
def login(options: Options, url: str | None, **wish: Any) -> int:
    """Sign in at a gateway.

    It stays the one that is asked until the next login. Its URL is enough: the gateway says who
    issues its tokens. Without --browser or --device it
    opens a browser where there is likely to be one, and else prints a code to type elsewhere.
    Tokens are renewed by themselves.
    """
    if wish["token_file"] is not None and wish["way"] is not None:
        raise click.UsageError("--token-file is a way of its own; leave the others out")
    from gateway.client.runs.login import Wish

    return int(load_run("login")(options, url, Wish(**wish)))


@client_command(
    "logout",
    epilog="""\b
Examples:
  slurm-gateway logout
  slurm-gateway logout --profile slurm.example.org
""",
)
def logout(options: Options) -> int:
    """Sign out of a gateway.

    The tokens are forgotten here, and the identity provider is told to renew them no more.
    """
    return int(load_run("logout")(options))


@client_command(
    "whoami",
    epilog="""\b
Examples:
  slurm-gateway whoami
  slurm-gateway whoami --json
""",
)
def whoami(options: Options) -> int:
    """Show who is signed in, where and until when.

    The gateway is asked whether it takes the token.
    """
    return int(load_run("whoami")(options))


@client_command(
    "ping",
    epilog="""\b
Examples:
  slurm-gateway ping
  slurm-gateway ping --json
""",
)
def ping(options: Options) -> int:
    """Ask whether gateway and slurmctld answer, as `scontrol ping` does."""
    return int(load_run("ping")(options))


COMMANDS = (login, logout, whoami, ping, submit, run_folder, *CLUSTER_COMMANDS, slurm_token)
