"""[forward]: where slurmrestd is and how long it may take."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from gateway.config.section import Bytes, Seconds, Section


def check_upstream(value: str) -> str:
    """http://host:port or unix:/absolute/path."""
    if value.startswith("unix:/"):
        return value
    parts = urlsplit(value)
    if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError("must be http://host:port or unix:/absolute/path")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must be http://host:port, without user, query or fragment")
    return value


class Forward(Section):
    """The connection to slurmrestd."""

    upstream: Annotated[str, AfterValidator(check_upstream)]
    """slurmrestd: "http://127.0.0.1:6820" or "unix:/run/slurmrestd/slurmrestd.sock"."""
    connections: int = Field(default=64, ge=4, le=120)
    """In total for this slurmrestd, which hangs at its 125th."""
    share_connections: bool = True
    """Let a kept connection serve any user once slurmrestd was seen to check each request. `false` keeps one for each
    user, which costs new connections: then even an answer that slurmrestd sends twice can meet only its own user."""
    connect_seconds: Seconds = 2.0
    """How long connecting to slurmrestd may take."""
    idle_seconds: Seconds = 60.0
    """The longest silence in the middle of an answer, and the life of an unused connection."""
    read_seconds: Seconds = 25.0
    """Until the first byte of an answer to a plain read. To say that slurmctld is down takes slurmrestd 9 s, and up to
    20 s for a single job on old releases."""
    write_seconds: Seconds = 60.0
    """Until the first byte of an answer to whatever may change something."""
    heavy_seconds: Seconds = 300.0
    """Until the first byte for heavy reads and bulk operations."""
    openapi_seconds: Seconds = 3600.0
    """How long slurmrestd's own OpenAPI document is used before it is asked for again. A reload, and a restart of
    slurmrestd, which is noticed by the connections to it, ask at once."""
    breaker: bool = True
    """After slurmctld or slurmdbd did not answer, refuse calls to it at once (503), but for one now and then that finds
    out whether it is back. `false`: every call waits to be told."""
    breaker_pause_seconds: Seconds = 5.0
    """How long nobody asks a daemon that did not answer; each further pause is twice as long, up to a minute."""
    buffer_bytes: Bytes = 8_388_608
    """Answers up to this size leave slurmrestd at once, however slowly the client reads."""
    minimum_bytes_per_second: Bytes = 16_384
    """Slower readers of larger answers are cut off."""
