"""[map_user]: which Slurm user and which roles an identity has."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.config.section import Condition, HttpsUrl, Seconds, Section
from gateway.users.rules import compile_pattern

UserName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]


def _check_pattern(value: str) -> str:
    compile_pattern(value)
    return value


class UserRule(Section):
    """One rule; the first whose issuer and conditions match is final.

    Give exactly one of claim, table_file, fixed_user.
    """

    issuer: HttpsUrl
    """One of authenticate.issuers; its tokens only."""
    when: dict[str, Condition] = Field(default_factory=dict)
    """Conditions on claims; an array matches if it contains the value.
    `client_id` and `groups` mean the validated ones."""
    claim: Annotated[str, Field(min_length=1)] | None = None
    """Take the name from this claim."""
    strip_domain: tuple[str, ...] = ()
    """Cut "@domain" off the claim, for these domains only."""
    lowercase: bool = False
    """Take the claim in lower case."""
    pattern: Annotated[str, AfterValidator(_check_pattern)] | None = None
    """The claim must match this regular expression in full; a group named `user` is taken as the name."""
    bind: Literal["first-use"] | None = None
    """Remember which subject first used a Slurm user and refuse every other."""
    table_file: Path | None = None
    """TOML with [[user]] tables: issuer, subject (or claim and value), user. Re-read when it changes."""
    fixed_user: UserName | None = None
    """Always this user: for service accounts."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = [self.claim, self.table_file, self.fixed_user]
        if sum(source is not None for source in sources) != 1:
            raise ValueError("give exactly one of claim, table_file, fixed_user")
        if self.claim is None and (
            self.strip_domain or self.lowercase or self.pattern or self.bind
        ):
            raise ValueError("strip_domain, lowercase, pattern and bind go with claim")
        if self.fixed_user is not None and not self.when:
            raise ValueError(
                "fixed_user needs conditions in `when`, or every token would become it"
            )
        return self


class RoleRule(Section):
    """One role for whoever meets the conditions."""

    issuer: HttpsUrl
    """One of authenticate.issuers; its tokens only."""
    role: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
    """One of authorize.roles."""
    when: dict[str, Condition] = Field(min_length=1)
    """Conditions on claims, all of which must be met."""


class MapUser(Section):
    """Rules from identities to Slurm users and roles, and what no rule can override."""

    rules: tuple[UserRule, ...] = Field(min_length=1)
    roles: tuple[RoleRule, ...] = ()
    forbidden_users: tuple[str, ...] = ("root", "slurm")
    """Never acted as, whatever a rule says. Name your SlurmUser here."""
    must_exist: bool = True
    """Ask NSS for the user; jobs of unknown users wait for ever."""
    minimum_uid: int = Field(default=1000, ge=1)
    """Users below this uid are refused: they are system accounts."""
    directory_seconds: Seconds = 2.0
    """How long NSS may take."""
    directory_cache_seconds: Seconds = 60.0
    """How long an answer of NSS is remembered."""
