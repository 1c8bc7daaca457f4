"""[audit]: where the record of every request goes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from gateway.config.section import Bytes, Count, Seconds, Section, check_listen


def check_syslog_address(value: str) -> str:
    """unix:/absolute/path, tcp:HOST:PORT or tls:HOST:PORT."""
    kind, _, rest = value.partition(":")
    if kind == "unix" and rest.startswith("/"):
        return value
    if kind not in ("tcp", "tls") or rest.startswith(("unix:", ":")):
        raise ValueError("must be unix:/absolute/path, tcp:HOST:PORT or tls:HOST:PORT")
    check_listen(rest)
    return value


SyslogAddress = Annotated[str, AfterValidator(check_syslog_address)]


class FileSink(Section):
    """Two JSON lines a request, in a 0600 file that the gateway rotates itself."""

    type: Literal["file"]
    """Where the lines go."""
    path: Path
    """The file; its directory must exist and be writable."""
    required: bool = True
    """Whether nothing is forwarded while this sink takes no lines; otherwise what it does not take is counted."""
    patience_seconds: Seconds = 0.8
    """How long a request waits for the file's disk before it is refused; more where that is slow at times."""
    rotate_bytes: Bytes = 268_435_456
    """A file that has reached this size is renamed with its time, and a new one begun."""
    rotate_daily: bool = True
    """Whether the first line of a day (UTC) begins a new file."""
    compress: bool = True
    """Whether complete files are compressed with gzip."""
    keep_days: Count = 400
    """Complete files whose last line is older are removed."""
    keep_bytes: Bytes = 21_474_836_480
    """The oldest complete files are removed where all of them together are larger than this."""


class StdoutSink(Section):
    """Two JSON lines a request on standard output."""

    type: Literal["stdout"]
    """Where the lines go."""
    required: bool = True
    """Whether nothing is forwarded while nobody reads it; otherwise what is not read is counted."""


class SyslogSink(Section):
    """The same lines as messages of RFC 5424 to a syslog server."""

    type: Literal["syslog"]
    """Where the lines go."""
    address: SyslogAddress
    """unix:/dev/log, tcp:HOST:PORT (with octet counting) or tls:HOST:PORT."""
    required: bool = False
    """Whether requests wait until a line is sent, and nothing is forwarded while the server takes none."""
    lines: Literal["all", "heads"] = "all"
    """All lines, or only heads, which prove elsewhere that no line of the file before them is gone."""
    facility: Annotated[int, Field(ge=0, le=23)] = 13
    """The facility of the messages (RFC 5424, table 1): 13 is log audit, 10 authpriv."""
    ca_file: Path | None = None
    """PEM certificates of the authorities that may have issued the server's; the system's if left out."""
    certificate_file: Path | None = None
    """PEM certificate that the gateway shows to the server."""
    key_file: Path | None = None
    """Its private key; left out where it stands in the same file."""


Sink = Annotated[FileSink | StdoutSink | SyslogSink, Field(discriminator="type")]


class Audit(Section):
    """Sinks, how safe a line is before its request goes on, and which query values may stand in the clear."""

    sinks: tuple[Sink, ...] = Field(min_length=1)
    durability: Literal["buffered", "durable", "off"] = "buffered"
    """buffered: writes wait for the disk, reads are there in 200 ms; durable: both wait; off: none, for measuring."""
    head_seconds: Seconds = 60
    """How often a head is written while there is traffic: kept elsewhere, it proves that no line before it is gone."""
    key_seconds: Seconds = 3600
    """How long one key seals lines before it is replaced and forgotten."""
    key_lines: Count = 10_000
    """How many lines one key seals, about."""
    listed_query_values: tuple[str, ...] = ("update_time", "flags", "job_id", "signal")
    """Query parameters whose values are written; all others are redacted."""
