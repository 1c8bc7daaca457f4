"""A role of the configuration -> what it says of fields and when it is held, in lines for people."""

from collections.abc import Iterator

from gateway.config.authorize import Role
from gateway.slurm_api.fields import PRIVILEGED

GUARD_RAILS = (
    "Rules on fields are guard rails, and no more: whoever may submit runs code on the cluster and"
    " can call sbatch there. Limits that must hold belong into Slurm: associations, QOS, job_submit."
)


def describe_fields(role: Role) -> Iterator[str]:
    """One line for each kind of rule that the role has."""
    refused = [name for name in PRIVILEGED if name not in role.permit_fields]
    if forbidden := (*role.forbid_fields, *refused):
        yield f"refuses {', '.join(dict.fromkeys(forbidden))}"
    if role.require_fields:
        yield f"requires {', '.join(role.require_fields)}"
    for name, value in role.force_fields.items():
        yield f"forces {name} = {value!r}"
    for name, maximum in role.maximum.items():
        yield f"caps {name} at {maximum}"
    for name, values in role.only_values.items():
        yield f"limits {name} to {', '.join(values) or 'nothing'}"
    if role.forbid_environment:
        yield f"refuses the variables {', '.join(role.forbid_environment)}"


def describe_conditions(role: Role) -> Iterator[str]:
    """One line for each condition under which the role is held, and for whose jobs."""
    if role.own_jobs_only:
        yield "reaches the user's own jobs only"
    if role.networks:
        yield f"held from {', '.join(role.networks)} only"
    if role.times:
        yield f"held at {', '.join(role.times)} ({role.time_zone}) only"
    if role.maximum_token_seconds is not None:
        yield f"held with tokens of at most {role.maximum_token_seconds:g} s only"
    if role.acr_values:
        yield f"held after a sign-in as {' or '.join(role.acr_values)} only"
    if role.maximum_authentication_seconds is not None:
        yield f"held for {role.maximum_authentication_seconds:g} s after a sign-in only"
