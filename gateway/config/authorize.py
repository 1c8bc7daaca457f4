"""[authorize]: which operations a role may call."""

from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from gateway.config.section import Network, Seconds, Section
from gateway.users.conditions import read_hours

DEFAULT_ALLOW = ("READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE")


def check_times(value: str) -> str:
    """Days, hours, or both."""
    read_hours(value)
    return value


def check_time_zone(value: str) -> str:
    """A name of the IANA time zone database, as this machine has it."""
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            "is no time zone of this machine (see timedatectl list-timezones)"
        ) from error
    return value


Times = Annotated[str, AfterValidator(check_times)]
TimeZone = Annotated[str, AfterValidator(check_time_zone)]


AcrValue = Annotated[str, Field(pattern=r"^[!#-\[\]-~]{1,255}$")]


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
    forbid_fields: tuple[str, ...] = ()
    """Fields of jobs ("reboot") and of bulk signals ("bulk.reservation") that a body may not have."""
    permit_fields: tuple[str, ...] = ()
    """Of user_id, group_id, job_id, admin_comment and site_factor, which are refused otherwise, those it may have."""
    require_fields: tuple[str, ...] = ()
    """Fields that a new job must have."""
    force_fields: dict[str, bool | int | str | tuple[str, ...]] = Field(default_factory=dict)
    """Fields of new jobs that have this value, whatever the body says; updates cannot change them."""
    maximum: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """The largest value of a field: time_limit in minutes, nodes, array in tasks, or a plain number."""
    only_values: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """The values that a field may have; each item of a comma list is compared."""
    forbid_environment: tuple[str, ...] = ()
    """Variables that the job's environment may not set; "LD_*" means all that begin so."""
    own_jobs_only: bool = False
    """Show, change and cancel the mapped user's own jobs only, unless another role allows it for all."""
    networks: tuple[Network, ...] = ()
    """The role is held only where the client's address is in one of these."""
    times: tuple[Times, ...] = ()
    """The role is held only at these times: "Mon-Fri 08:00-18:00", "Sat,Sun", "22:00-06:00"."""
    time_zone: TimeZone = "UTC"
    """The time zone of `times`, such as "Europe/Berlin"."""
    maximum_token_seconds: Seconds | None = None
    """The role is held only with tokens that live no longer than this (exp minus iat)."""

    acr_values: tuple[AcrValue, ...] = ()
    """The role is held only after a sign-in whose `acr` is one of these (RFC 9470); others are asked to step up."""
    maximum_authentication_seconds: Seconds | None = None
    """The role is held only so long after a sign-in (`auth_time`); others are asked to sign in anew."""

    @property
    def has_conditions(self) -> bool:
        """Whether it is held at some times only, from some places or with some tokens."""
        return bool(
            self.networks or self.times or self.maximum_token_seconds or self.asks_for_strength
        )

    @property
    def asks_for_strength(self) -> bool:
        """Whether it asks how or when somebody signed in."""
        return bool(self.acr_values or self.maximum_authentication_seconds)

    @property
    def limits_fields(self) -> bool:
        """Whether it says more of fields than every role does."""
        return bool(
            self.forbid_fields
            or self.require_fields
            or self.force_fields
            or self.maximum
            or self.only_values
            or self.forbid_environment
        )


class StepUp(Section):
    """What operations ask of a sign-in, whoever calls them; missing claims count as not enough."""

    operations: tuple[str, ...] = Field(min_length=1)
    """Classes and operations, written as in `allow`."""
    acr_values: tuple[AcrValue, ...] = ()
    """The sign-in's `acr` must be one of these."""
    maximum_authentication_seconds: Seconds | None = None
    """The sign-in (`auth_time`) may be so old."""

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.acr_values and self.maximum_authentication_seconds is None:
            raise ValueError("needs acr_values or maximum_authentication_seconds")
        return self


class Authorize(Section):
    """The roles. "user" is everybody's."""

    step_up: tuple[StepUp, ...] = ()
    roles: dict[str, Role] = Field(default_factory=dict)
    openapi_without_token: bool = False
    """Serve /openapi without a token too, as it is true for somebody with the role "user" alone."""

    @model_validator(mode="before")
    @classmethod
    def _default_role(cls, values: object) -> object:
        if not isinstance(values, dict):
            return values
        roles = values.get("roles", {})
        if not isinstance(roles, dict) or "user" in roles:
            return values
        return {**values, "roles": {"user": {"allow": DEFAULT_ALLOW}, **roles}}
