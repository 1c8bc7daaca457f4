"""[authorize]: which operations a role may call."""

from pydantic import Field, model_validator

from gateway.config.section import Section

DEFAULT_ALLOW = ("READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE")


class Role(Section):
    """Classes (READ, SUBMIT, …) and operations ("POST /slurm/*/reservation"); deny wins."""

    allow: tuple[str, ...] = ()
    """Classes and operations that the role may call."""
    deny: tuple[str, ...] = ()
    """Classes and operations that it may not, whatever `allow` says."""
    versions: str = Field(
        default="v0.0.35-v0.0.45", pattern=r"^v0\.0\.[0-9]{1,3}(-v0\.0\.[0-9]{1,3})?$"
    )
    """The API versions that this role may call."""


class Authorize(Section):
    """The roles. "user" is everybody's."""

    roles: dict[str, Role] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _default_role(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        roles = values.get("roles", {})
        if not isinstance(roles, dict) or "user" in roles:
            return values
        return {**values, "roles": {"user": {"allow": DEFAULT_ALLOW}, **roles}}
