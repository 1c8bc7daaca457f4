"""gateway.toml -> every mistake in it, then what each edge says when it is tried."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from gateway.app_doubts import find_doubts
from gateway.app_shelf import Shelf
from gateway.commands.check_local import (
    check_audit,
    check_listeners,
    check_lists,
    check_state_directory,
    check_tls,
)
from gateway.commands.check_remote import (
    check_credential,
    check_issuers,
    check_slurmrestd,
    check_user,
)
from gateway.commands.check_roles import check_roles
from gateway.commands.check_sign_in import check_sign_in
from gateway.commands.check_store import check_store
from gateway.commands.logs import configure_logging
from gateway.commands.reporting import Findings, report_mistakes
from gateway.config.gateway import Gateway
from gateway.config.load import load
from gateway.config.problem import ConfigurationError


def run(config: Path, environ: Mapping[str, str], user: str | None) -> int:
    """0 where all is well, 1 where anything is wrong."""
    configure_logging(logging.CRITICAL)  # what the edges log is told here in other words
    try:
        gateway = load(config, environ)
    except ConfigurationError as error:
        report_mistakes(error, config)
        return 1
    findings = Findings()
    findings.heading("Configuration")
    findings.good(f"{config} is valid")
    findings.doubts(find_doubts(gateway))
    asyncio.run(_check(gateway, environ, user, findings))
    return findings.exit_code()


async def _check(
    gateway: Gateway, environ: Mapping[str, str], user: str | None, findings: Findings
) -> None:
    """In the order of the pipeline, with the gateway's own places first."""
    shelf = Shelf()
    try:
        findings.heading("The gateway itself")
        check_state_directory(gateway.server.state_directory, findings)
        check_tls(gateway.server, findings)
        check_listeners(gateway.server, findings)
        await check_store(gateway, findings)
        findings.heading("Identity providers")
        await check_issuers(gateway.authenticate, shelf, findings)
        await check_sign_in(gateway, environ, findings)
        findings.heading("Users")
        check_lists(gateway, shelf, findings)
        account = await check_user(gateway.map_user, user, findings)
        findings.heading("Roles")
        check_roles(gateway.authorize, gateway.credential, findings)
        findings.heading("Slurm")
        issuing = await check_credential(gateway, environ, findings)
        await check_slurmrestd(gateway, issuing, account, findings)
        findings.heading("Audit")
        check_audit(gateway.audit, findings)
    finally:
        await shelf.close_except(None)
