"""`slurm-gateway audit ...`: the commands of whoever has to rely on the audit, one module each."""

import click

from gateway.commands.audit_init import init
from gateway.commands.audit_verify import verify


@click.group()
def audit() -> None:
    """Verify, search, follow and sum up the audit."""


audit.add_command(init)
audit.add_command(verify)
