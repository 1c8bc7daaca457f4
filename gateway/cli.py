"""The command line of slurm-gateway. Commands load what they need only when they are run."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from gateway.client.commands import ALIASES, COMMANDS
from gateway.client.commands_shell import SHELL_COMMANDS

DEFAULT_CONFIG = "/etc/slurm-gateway/gateway.toml"
_SERVER_LIBRARIES = frozenset(
    {
        "cryptography",
        "fastapi",
        "httptools",
        "joserfc",
        "limits",
        "orjson",
        "prometheus_client",
        "pydantic",
        "pydantic_settings",
        "starlette",
        "uvicorn",
        "uvloop",
    }
)

_config_option = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    envvar="SLURM_GATEWAY_CONFIG",
    default=DEFAULT_CONFIG,
    show_default=True,
    show_envvar=True,
    help="The configuration file.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Modules stay: looking through them for garbage, while they load and at the end, takes a third of a short run."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _load(command: str) -> ModuleType:
    """The module of a server command, or how to install what it needs."""
    try:
        with _nothing_to_collect():
            return import_module(f"gateway.commands.{command}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _SERVER_LIBRARIES:
            raise
        raise click.ClickException(
            f"`slurm-gateway {command}` is part of the server, and {error.name} is not installed."
            "\n\n    pip install 'slurm-gateway[server]'"
        ) from error


class _ServerGroup(click.Group):
    """Commands of the server that are loaded when one of them, or their list, is asked for."""

    def _loaded(self) -> click.Group:
        group: click.Group = getattr(_load(self.name or ""), self.name or "")
        return group

    def list_commands(self, context: click.Context) -> list[str]:
        """Their names."""
        return self._loaded().list_commands(context)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """One of them."""
        return self._loaded().get_command(context, name)


class _Tree(click.Group):
    """The client's commands first, then the server's; old names of commands are aliases."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them, by its name or an alias."""
        return super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Two lists. A command's first sentence is its line."""
        clients = [command.name for command in (*COMMANDS, *SHELL_COMMANDS)]
        servers = [name for name in self.list_commands(ctx) if name not in clients]
        for heading, names in (("Client", clients), ("Server", servers)):
            known = [(name, self.get_command(ctx, name or "")) for name in names]
            rows = [(name or "", one.get_short_help_str(75)) for name, one in known if one]
            with formatter.section(heading):
                formatter.write_dl(rows)


@click.group(
    cls=_Tree,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  slurm-gateway login https://slurm.example.org
  slurm-gateway submit --chdir /home/alice job.sh
  slurm-gateway jobs --me
  slurm-gateway check --config /etc/slurm-gateway/gateway.toml
  slurm-gateway serve
  slurm-gateway explain POST /slurm/v0.0.42/job/submit --user alice
""",
)
@click.version_option(package_name="slurm-gateway", prog_name="slurm-gateway")
@click.pass_context
def main(context: click.Context) -> None:
    """The authenticating gateway in front of Slurm's REST API, and its client.

    The server verifies the access tokens of your identity provider, maps each identity to one
    Slurm user, lets listed operations pass within limits, and writes an audit of every request.

    As a user: `login` with the gateway's URL, then the commands under Client. To run a gateway:
    copy config/gateway.toml, edit its first part, then run `check` and `serve`.
    """
    if os.environ.get("NO_COLOR"):
        context.color = False


@main.command(
    epilog="""\b
Signals:
  SIGTERM, SIGINT  finish running requests within server.drain_seconds, then exit with 0
  SIGHUP           take configuration, tables, keys and certificate over, or change nothing
  SIGUSR1          begin a new audit file; say so after renaming the old one
"""
)
@_config_option
@click.option("--verbose", "-v", is_flag=True, help="Log what is normal, too.")
def serve(config: Path, verbose: bool) -> None:
    """Run the gateway in the foreground, logging to standard error.

    It exits with 1 when the configuration has mistakes or a port is taken, and says all of
    what is wrong at once. An identity provider or slurmrestd that is down does not keep it from
    starting; /readyz on the operations listener tells.
    """
    sys.exit(_load("serve").run(config, os.environ, verbose=verbose))


@main.command(
    epilog="""\b
Examples:
  slurm-gateway check
  slurm-gateway check --config ./gateway.toml --user alice
"""
)
@_config_option
@click.option("--user", metavar="NAME", help="Also read from slurmrestd as this Slurm user.")
def check(config: Path, user: str | None) -> None:
    """Find every mistake before a user does.

    Prints all mistakes of the configuration at once, each with its place and remedy. Then tries
    each edge: key files, each issuer's keys, slurmrestd, the user directory, the audit, the state
    directory and the certificate. With --user it makes an authenticated read as that user and
    measures the clock skew to slurmctld.

    Exits with 0 when all is well (warnings allowed), with 1 when something is wrong.
    """
    sys.exit(_load("check").run(config, os.environ, user))


@main.command(
    epilog="""\b
Examples:
  slurm-gateway explain GET /slurm/v0.0.42/jobs --user alice
  slurm-gateway explain DELETE /slurm/v0.0.42/job/4711 --token-file token.txt
  slurm-gateway explain GET '/slurm/v0.0.42/jobs?update_time=0' --user alice --role operator
  slurm-gateway explain POST /slurm/v0.0.42/job/submit --user alice --body-file job.json
"""
)
@click.argument("method")
@click.argument("path")
@_config_option
@click.option("--user", metavar="NAME", help="Explain for this Slurm user, without a token.")
@click.option("--role", "roles", metavar="ROLE", multiple=True, help="With --user: a role it has.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="A file with an access token (- for standard input). Never put a token on a command line.",
)
@click.option(
    "--address",
    metavar="IP",
    default="127.0.0.1",
    show_default=True,
    help="The client's address, for roles that are held from some networks only.",
)
@click.option(
    "--body-file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file with the JSON body, for the rules on bodies.",
)
@_json_option
def explain(method: str, path: str, token_file: Path | None, **options: Any) -> None:
    """Print each stage's answer to a request, without forwarding it.

    With --token-file the token is verified and mapped exactly as `serve` would. Nothing is sent
    to slurmrestd, no rate is used up, and no Slurm token is made.

    Exits with 0 when the request would be granted, with 1 when it would be refused.
    """
    if (options["user"] is None) == (token_file is None):
        raise click.UsageError("give exactly one of --user, --token-file")
    if options["roles"] and options["user"] is None:
        raise click.UsageError("--role goes with --user; with a token, roles come from its claims")
    sys.exit(_load("explain").run(method, path, token_file, environ=os.environ, **options))


@main.command(
    short_help="List slurmrestd's operations with their risk classes.",
    epilog="""\b
Examples:
  slurm-gateway operations --version v0.0.42
  slurm-gateway operations --role user --config ./gateway.toml
  slurm-gateway operations --risk ADMIN --json
""",
)
@_config_option
@click.option("--role", help="Only what this role of the configuration may call.")
@click.option("--risk", metavar="CLASS", help="Only operations of this risk class, such as SUBMIT.")
@click.option("--version", "api_version", metavar="V", help="Only this API version: v0.0.42.")
@_json_option
def operations(config: Path, **options: Any) -> None:
    """List the operations of slurmrestd that the gateway knows, with their risk classes.

    Whatever is not listed here is refused, whoever asks.
    """
    sys.exit(_load("operations").run(config, os.environ, **options))


@main.command()
@_config_option
@click.option("--timeout", default=30.0, show_default=True, metavar="SECONDS", help="How to wait.")
def reload(config: Path, timeout: float) -> None:
    """Let the running gateway take over its changed configuration.

    The file is checked first; a mistake is printed here and the gateway is left alone. Then the
    gateway takes over configuration, tables, keys and certificate at once or, if anything is
    wrong, nothing at all. Running requests end under the rules they began with.

    Exits with 0 when the new configuration is in force, with 1 when the old one still is.
    """
    sys.exit(_load("reload").run(config, os.environ, timeout))


@main.group(
    epilog="""\b
Examples:
  slurm-gateway bindings list
  slurm-gateway bindings remove --user alice
  slurm-gateway bindings remove https://idp.example.org 8f14e45f-ceea-467f
"""
)
def bindings() -> None:
    """Whose each Slurm user is, where a rule has bind = "first-use".

    The first subject that a provider calls alice keeps the Slurm user alice, and every other one
    is refused with `subject-conflict`, until the binding is removed here. It makes no difference
    whether the gateway runs; run this as its user or as root.
    """


@bindings.command("list")
@_config_option
@_json_option
def list_bindings(config: Path, as_json: bool) -> None:
    """List users, the subjects they are bound to, and since when (UTC).

    Exits with 0, also when there are none, and with 1 when the file cannot be read.
    """
    sys.exit(_load("bindings").list_all(config, os.environ, as_json=as_json))


@bindings.command("remove")
@click.argument("issuer", required=False)
@click.argument("subject", required=False)
@_config_option
@click.option("--user", metavar="NAME", help="Whatever subject this Slurm user is bound to.")
def remove_binding(config: Path, **which: str | None) -> None:
    """Forget one binding: that of SUBJECT at ISSUER, or that of --user.

    A running gateway knows within two seconds. Then the next subject that maps to the user binds
    it again. To keep somebody out, use authenticate.deny_list_file.

    Exits with 0 when a binding was removed, with 1 when there was none or nothing could be done.
    """
    named = which["issuer"] is not None and which["subject"] is not None
    if (which["issuer"] is not None) if which["user"] is not None else not named:
        raise click.UsageError("give ISSUER and SUBJECT, or --user NAME")
    sys.exit(_load("bindings").remove(config, os.environ, **which))


@main.group(
    no_args_is_help=True,
    epilog="""\b
Examples:
  slurm-gateway sessions list
  slurm-gateway sessions end 4f1c0a9b77d2e310
  slurm-gateway sessions end --subject 8f14e45f-ceea-467f
""",
)
def sessions() -> None:
    """Who is signed in with a browser, where [sign_in] has clients.

    It makes no difference whether the gateway runs; run this as its user or as root.
    """


@sessions.command("list")
@_config_option
@_json_option
def list_sessions(config: Path, as_json: bool) -> None:
    """List sessions, whose they are, since when and from where; the last used first.

    Exits with 0, also when there are none, and with 1 when the file cannot be read.
    """
    sys.exit(_load("sessions").list_all(config, os.environ, as_json=as_json))


@sessions.command("end")
@click.argument("session", required=False)
@_config_option
@click.option("--subject", metavar="SUBJECT", help="All sessions of this subject.")
@click.option("--issuer", metavar="URL", help="Of this issuer only; goes with --subject.")
@click.option("--all", "everybody", is_flag=True, help="Everybody's.")
def end_sessions(
    config: Path, session: str | None, subject: str | None, issuer: str | None, everybody: bool
) -> None:
    """End SESSION, as `sessions list` calls it, or those of --subject, or --all.

    A running gateway refuses them within two seconds. Whoever had them can sign in again.

    Exits with 0 when a session was ended, with 1 when there was none or nothing could be done.
    """
    given = [session is not None, subject is not None, everybody]
    if sum(given) != 1 or (issuer is not None and subject is None):
        raise click.UsageError("give SESSION, --subject SUBJECT or --all")
    chosen = {"handle": session, "subject": subject, "issuer": issuer, "everybody": everybody}
    sys.exit(_load("sessions").end(config, os.environ, **chosen))


for _command in (*COMMANDS, *SHELL_COMMANDS):
    main.add_command(_command)
main.add_command(
    _ServerGroup(
        "audit",
        help="Verify, search, follow and sum up the audit.",
        no_args_is_help=True,
        epilog="""\b
Examples:
  slurm-gateway audit verify --key-file key.json /var/log/slurm-gateway/audit*
  slurm-gateway audit verify --help
""",
    )
)


if __name__ == "__main__":
    main()
