"""What the hardened protocol is made with: limits, where refusals go, how they are rendered."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from gateway.denial import Denied, Reason
from gateway.edges.late_writes import LateWrites
from gateway.web.exchange import DefaultLines, Problem, Serve
from gateway.web.head_form import HeadLimits
from gateway.web.known_heads import KnownHeads

Render = Callable[[Denied, str], Problem]
"""(refusal, request id) -> problem document; see gateway.web.problems.render."""


class Refusal(NamedTuple):
    """A request that the application never saw, for the audit. `peer` is None on a UNIX socket."""

    reason: Reason
    note: str
    peer: str | None
    method: str
    target: str
    request_id: str


@dataclass(frozen=True, slots=True)
class ProtocolLimits:
    """What one client connection may take. `connections` counts all of them."""

    head: HeadLimits = field(default_factory=HeadLimits)
    header_seconds: float = 10.0
    """From the connection's start, or from a later head's first byte, to the head's end."""
    linger_seconds: float = 2.0
    """How long a client that was refused while it sends has to read the answer."""
    write_seconds: float = 120.0
    """How long a client that has stopped reading may hold an answer that was handed to its connection."""
    connections: int = 4096


@dataclass(frozen=True)
class Terms:
    """All of it, shared by the connections of one configuration."""

    limits: ProtocolLimits
    on_refusal: Callable[[Refusal], None]
    render_problem: Render
    new_request_id: Callable[[], str]
    on_overflow: Callable[[], None]
    is_valid_host: Callable[[bytes], bool]
    serve: Serve | None
    is_served: Callable[[bytes], bool]
    late_writes: LateWrites
    default_lines: DefaultLines = field(default_factory=DefaultLines)
    known_heads: KnownHeads = field(default_factory=KnownHeads)
    """Read by these limits, so that others do not go by them."""
