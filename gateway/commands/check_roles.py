"""[authorize] -> what each role may ask for, and what such rules are worth."""

from gateway.commands.described_roles import (
    GUARD_RAILS,
    describe_conditions,
    describe_fields,
)
from gateway.commands.reporting import Findings
from gateway.config.authorize import Authorize, Role
from gateway.config.credential import Credential, Mint
from gateway.model import Risk

_MINTING = frozenset({Risk.MINT_TOKEN.value, "POST /gateway/slurm-token"})


def check_roles(section: Authorize, credential: Credential, findings: Findings) -> None:
    """Told, not tried: mistakes in them have stopped the check before."""
    for name, role in section.roles.items():
        said = [*describe_conditions(role), *describe_fields(role)]
        findings.good(f"{name}: {'; '.join(said)}")
        if _may_have_tokens(role):
            findings.doubt(_about_tokens(name, role, credential))
    if any(role.limits_fields for role in section.roles.values()):
        findings.doubt(GUARD_RAILS)


def _may_have_tokens(role: Role) -> bool:
    return not _MINTING.isdisjoint(" ".join(entry.split()) for entry in role.allow)


def _about_tokens(name: str, role: Role, credential: Credential) -> str:
    if not isinstance(credential, Mint):
        return (
            f"{name} may ask for Slurm tokens of their own (MINT-TOKEN), and this gateway makes"
            ' none: it answers slurm-token-unsupported. That takes credential.provider = "mint".'
        )
    past = "past every rule of this gateway"
    if role.limits_fields or role.own_jobs_only:
        past += ", those of the role itself among them"
    return f"{name} may have Slurm tokens of their own (MINT-TOKEN), with which they go {past}."
