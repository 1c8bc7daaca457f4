"""[credential]: how a request comes by a token that slurmrestd takes."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.section import Seconds, Section


class Mint(Section):
    """A short-lived HS256 token made by the gateway with Slurm's own key."""

    provider: Literal["mint"]
    """How tokens for slurmrestd come about."""
    key_file: Path
    """Slurm's jwt_hs256.key, used byte for byte; 0400 or 0600, of the gateway's user or root."""
    lifetime_seconds: float = Field(default=120.0, ge=10, le=3600)
    """How long a minted token lives at most; never longer than the caller's own."""
    handed_out_seconds: float = Field(default=600.0, ge=10, le=600)
    """The same for a token that a user with the class MINT-TOKEN asks for and keeps."""
    group_readable_key: bool = False
    """Accept a key file of mode 0440 or 0640."""
    include_ids: bool = False
    """Add uid, gid and id claims, for slurmctld with use_jwt_client_ids_only (AWS PCS)."""


class Attach(Section):
    """Tokens made elsewhere, from a file or a command; "{user}" in either is the Slurm user."""

    provider: Literal["attach"]
    """How tokens for slurmrestd come about."""
    token_file: Path | None = None
    """A file with a token, re-read when it changes."""
    command: tuple[str, ...] = ()
    """An argument list such as ["scontrol", "token", "username={user}", "lifespan=300"]."""
    command_seconds: Seconds = 10.0
    """How long the command may take."""
    refresh_seconds: Seconds = 30.0
    """A token is replaced when it has less than this left."""
    impersonate: bool = False
    """The token is SlurmUser's and acts as whomever X-SLURM-USER-NAME names: one stolen token is the cluster."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.token_file is None) == (not self.command):
            raise ValueError("give exactly one of token_file, command")
        return self

    @property
    def names_user(self) -> bool:
        """Whether the source gives each user a token of their own."""
        return any("{user}" in text for text in (str(self.token_file), *self.command))


class Passthrough(Section):
    """The caller's own token, for a Slurm that verifies the identity provider's keys itself."""

    provider: Literal["passthrough"]
    """How tokens for slurmrestd come about."""


Credential = Annotated[Mint | Attach | Passthrough, Field(discriminator="provider")]
