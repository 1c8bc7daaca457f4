"""`slurm-gateway audit ...`: the commands of whoever has to rely on the audit, one module each."""

import click

from gateway.commands.audit_follow import follow
from gateway.commands.audit_init import init
from gateway.commands.audit_report import report
from gateway.commands.audit_search import search
from gateway.commands.audit_verify import verify


@click.group()
def audit() -> None:
    """Verify, search, follow and sum up the audit."""


audit.add_command(init)
audit.add_command(verify)
audit.add_command(search)
audit.add_command(follow)
audit.add_command(report)
