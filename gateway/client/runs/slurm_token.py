"""`slurm-token` -> a line for a shell that sets SLURM_JWT, or JSON."""

import json
import re
import shlex
import sys

import click

from gateway.client.opening import open_gateway
from gateway.client.options import Options
from gateway.client.trouble import Exit, Trouble
from gateway.client.values import whole

_PATH = "/gateway/slurm-token"
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""A JWT (RFC 7519): nothing that a shell would take for more."""


def run(options: Options, shell: str) -> int:
    """0 once it is printed."""
    with open_gateway(options) as gateway:
        content = gateway.ask("POST", _PATH).content
    token = content.get("slurm_token")
    if not isinstance(token, str) or not _FORM.fullmatch(token):
        raise Trouble(Exit.UNREADABLE_ANSWER, "The gateway answered without a Slurm token.")
    if options.as_json:
        facts = {"user": content.get("user"), "expires_at": whole(content.get("expires_at"))}
        click.echo(json.dumps({**facts, "slurm_token": token}, indent=2))
        return Exit.DONE
    if sys.stdout.isatty():
        click.echo('This is a secret. Meant is: eval "$(slurm-gateway slurm-token)"', err=True)
    click.echo(_line(shell, token))
    return Exit.DONE


def _line(shell: str, token: str) -> str:
    if shell == "fish":
        return f"set -gx SLURM_JWT '{token}'"
    return f"export SLURM_JWT={shlex.quote(token)}"
