"""[audit]: where the record of every request goes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from gateway.config.section import Bytes, Section


class FileSink(Section):
    """Two JSON lines a request, in a 0600 file that the gateway rotates itself."""

    type: Literal["file"]
    """Where the lines go."""
    path: Path
    """The file; its directory must exist and be writable."""
    required: bool = True
    """Whether nothing is forwarded while this sink takes no lines; otherwise what it does not take is counted."""
    rotate_bytes: Bytes = 268_435_456
    """A file that has reached this size is renamed with its time, and a new one begun."""


class StdoutSink(Section):
    """Two JSON lines a request on standard output."""

    type: Literal["stdout"]
    """Where the lines go."""
    required: bool = True
    """Whether nothing is forwarded while nobody reads it; otherwise what is not read is counted."""


Sink = Annotated[FileSink | StdoutSink, Field(discriminator="type")]


class Audit(Section):
    """Sinks, how safe a line is before its request goes on, and which query values may stand in the clear."""

    sinks: tuple[Sink, ...] = Field(min_length=1)
    durability: Literal["buffered", "durable", "off"] = "buffered"
    """buffered: writes wait for the disk, reads are there in 200 ms; durable: both wait; off: none, for measuring."""
    listed_query_values: tuple[str, ...] = ("update_time", "flags", "job_id", "signal")
    """Query parameters whose values are written; all others are redacted."""
