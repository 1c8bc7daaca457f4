"""One reading of a head that a connection repeats byte for byte -> the same InboundRequest under a new id."""

from collections.abc import Callable
from typing import Any

from gateway.model import InboundRequest


class HeadMemo:
    """What the first stage made of a head; offered as "gateway.head" for as long as the head repeats.

    The same bytes on the same connection, read by the same stage, mean the same. A configuration
    that replaces the stage makes its own reading.
    """

    __slots__ = ("_parts", "_reader", "lane")

    def __init__(self) -> None:
        self.lane: Callable[[Any], bool] | None = None
        """Serves a repeat at once, or says that it cannot; see express.py."""
        self._reader: object = None
        self._parts: tuple[object, ...] = ()

    def rides(self, client: object) -> bool:
        """Whether the lane takes one more; one that does not is of no more use."""
        lane = self.lane
        if lane is None or not lane(client):
            self.lane = None
            return False
        return True

    def recall(self, reader: object, request_id: str) -> InboundRequest | None:
        """What `reader` made of this head before, if it was the last to read it."""
        if self._reader is not reader:
            return None
        return InboundRequest._make((request_id, *self._parts))

    def keep(self, reader: object, request: InboundRequest) -> None:
        """Remember all of it but its id, which comes first."""
        self._reader = reader
        self._parts = request[1:]
