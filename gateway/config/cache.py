"""[cache]: whether equal reads share an answer of slurmrestd, and for how long."""

from typing import Annotated

from pydantic import Field

from gateway.config.section import Bytes, Seconds, Section

Lifetime = Annotated[float, Field(ge=0, le=3600, allow_inf_nan=False)]


class Cache(Section):
    """Reads that are asked of slurmrestd once for all equal requests of a Slurm user."""

    enabled: bool = False
    """Answer equal reads of one Slurm user by one call, and from memory for a moment. A user's own writes through the
    gateway show at once; what others do, and what is done with Slurm's own commands, shows when the moment is over."""
    seconds: Lifetime = 1.0
    """How long an answer is used."""
    slow_seconds: Lifetime = 5.0
    """The same for nodes, partitions, licences and diag."""
    seconds_by_operation: dict[str, Lifetime] = Field(default_factory=dict)
    """The same for single operations; 0 is never kept: { "GET /slurmdb/*/jobs" = 10.0 }."""
    stale_seconds: Lifetime = 60.0
    """How much longer it is used while Slurm does not answer; `Cache-Status` says so. 0: not at all."""
    private_data_is_empty: bool = False
    """Say that slurm.conf sets no PrivateData, so that users may share answers. Where the API tells (v0.0.45), it is
    looked at every minute, and sharing ends on any doubt."""
    share_as: str = Field(default="", pattern=r"[a-z_][a-z0-9_.-]{0,63}|")
    """An unprivileged Slurm user as whom reads of slurmctld are made for all users. Empty: everybody has their own."""
    refresh_seconds: Seconds = 0.25
    """`Cache-Control: no-cache` or `max-age` in a request gets a fresh answer, but none is made more often."""
    maximum_bytes: Bytes = 268_435_456
    """Memory for all answers, compressed forms and calls under way included."""
    maximum_answer_bytes: Bytes = 33_554_432
    """A longer answer is streamed to the client that asked, and nobody shares it."""
    maximum_list_bytes: Bytes = 67_108_864
    """The same for a list of which somebody wants parts (`gateway.fields` and so on): up to this size it is parsed once
    for all. Parts of a longer one are found as it streams by, for each request anew."""
