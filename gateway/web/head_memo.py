"""One reading of a head that comes again byte for byte -> the same InboundRequest under a new id."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from gateway.model import InboundRequest


class SentHead(NamedTuple):
    """A head as it came, from whom, and what the protocol has read in it. `peer` as a Client has it."""

    data: bytes
    peer: str | None
    method: str
    raw_target: bytes
    headers: Sequence[tuple[bytes, bytes]]


class StandingDecision(Protocol):
    """A lane; see express.py."""

    has_ended: bool
    since: float
    renews_from: float
    """Between the two, seconds since the epoch, another decision is of no use."""

    def takes(self, client: Any, /) -> bool:
        """Serve a repeat at once, or say that it is not going to."""
        ...


class HeadMemo:
    """What the stages made of a head, for as long as it repeats.

    The same bytes from the same address, read by the same stage, mean the same. A configuration that
    replaces the stage makes its own reading. `keep` shows a head to all connections (known_heads.py),
    and is None for one that concerns its own connection alone.
    """

    __slots__ = ("_keep", "_parts", "_reader", "is_shared", "lane", "sent", "was_used")

    def __init__(
        self, sent: SentHead | None = None, keep: "Callable[[HeadMemo], None] | None" = None
    ) -> None:
        self.sent = sent
        self.is_shared = False
        """Whether other connections find it."""
        self.was_used = True
        """Since `known_heads` has looked last."""
        self.lane: StandingDecision | None = None
        self._keep = keep
        self._reader: object = None
        self._parts: tuple[object, ...] = ()

    def rides(self, client: object) -> bool:
        """Whether the lane takes one more; one that has ended is of no more use."""
        lane = self.lane
        if lane is None:
            return False
        if lane.takes(client):
            return True
        if lane.has_ended and self.lane is lane:
            self.lane = None
        return False

    def wants_lane(self, begun: float) -> bool:
        """Whether a decision of that time is worth to stand: for a head that was answered well before.

        From the first time on, other connections find it. Of those who decide at the same time, one does.
        """
        if not self.is_shared:
            if self._keep is not None:
                self._keep(self)
            return False
        return self.lane is None or not self.lane.since <= begun < self.lane.renews_from

    def recall(self, reader: object, request_id: str) -> InboundRequest | None:
        """What `reader` made of this head before, if it was the last to read it."""
        if self._reader is not reader:
            return None
        return InboundRequest._make((request_id, *self._parts))

    def keep(self, reader: object, request: InboundRequest) -> None:
        """Remember all of it but its id, which comes first."""
        self._reader = reader
        self._parts = request[1:]
