"""[receive]: what a request may look like."""

from pydantic import Field

from gateway.config.section import Bytes, Seconds, Section


class Receive(Section):
    """Sizes and forms of requests."""

    maximum_body_bytes: Bytes = Field(default=52_428_800, le=52_428_800)
    """Largest request body. slurmrestd itself takes 52,428,800 bytes and no more; that of Slurm 20.11 now and
    then ends at bodies of a megabyte or more, the sooner the larger: 1048576 is enough for nearly any job there."""
    maximum_body_bytes_by_operation: dict[str, Bytes] = Field(default_factory=dict)
    """Smaller caps for single operations: { "POST /slurm/*/job/submit" = 8388608 }."""
    maximum_ruled_body_bytes: Bytes = 16_777_216
    """The same for bodies that rules on fields have to read; Slurm's own scripts end at 4 MiB by default."""
    memory_body_bytes: Bytes = 1_048_576
    """Bodies up to this size stay in memory; larger ones go to an unlinked file in the state directory."""
    body_idle_seconds: Seconds = 20.0
    """How long a client may pause while it sends a body."""
    body_seconds: Seconds = 300.0
    """How long a whole body may take."""
    maximum_url_bytes: Bytes = 8192
    """A request target may be this long; more is 414."""
    accept_yaml: bool = False
    """Also take application/x-yaml bodies."""
