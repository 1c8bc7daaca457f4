"""[authorize] -> what each role may ask for, and what such rules are worth."""

from gateway.commands.described_roles import (
    GUARD_RAILS,
    describe_conditions,
    describe_fields,
)
from gateway.commands.reporting import Findings
from gateway.config.authorize import Authorize


def check_roles(section: Authorize, findings: Findings) -> None:
    """Told, not tried: mistakes in them have stopped the check before."""
    for name, role in section.roles.items():
        said = [*describe_conditions(role), *describe_fields(role)]
        findings.good(f"{name}: {'; '.join(said)}")
    if any(role.limits_fields for role in section.roles.values()):
        findings.doubt(GUARD_RAILS)
