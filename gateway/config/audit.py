"""[audit]: where the record of every request goes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.config.section import Bytes, Section


class FileSink(Section):
    """One JSON line a request, in a 0600 file that the gateway rotates itself."""

    type: Literal["file"]
    """Where the lines go."""
    path: Path
    """The file; its directory must exist and be writable."""
    rotate_bytes: Bytes = 268_435_456
    """A file that has reached this size is renamed with its time, and a new one begun."""


class StdoutSink(Section):
    """One JSON line a request on standard output."""

    type: Literal["stdout"]
    """Where the lines go."""


Sink = Annotated[FileSink | StdoutSink, Field(discriminator="type")]


class Audit(Section):
    """Sinks, and which query values may stand in the clear."""

    sinks: tuple[Sink, ...] = Field(min_length=1)
    listed_query_values: tuple[str, ...] = ("update_time", "flags", "job_id", "signal")
    """Query parameters whose values are written; all others are redacted."""
