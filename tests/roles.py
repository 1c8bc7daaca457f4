"""A role as the configuration has it, with nothing in it but what a test says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.slurm_api.field_rules import Value


@dataclass(frozen=True)
class Rules:
    """Without a word it allows nothing."""

    allow: Sequence[str] = ()
    deny: Sequence[str] = ()
    versions: str = "v0.0.35-v0.0.45"
    forbid_fields: Sequence[str] = ()
    permit_fields: Sequence[str] = ()
    require_fields: Sequence[str] = ()
    force_fields: Mapping[str, Value] = field(default_factory=dict)
    maximum: Mapping[str, int] = field(default_factory=dict)
    only_values: Mapping[str, Sequence[str]] = field(default_factory=dict)
    forbid_environment: Sequence[str] = ()
    own_jobs_only: bool = False
