"""Small writes of one turn of the event loop -> the end of that turn, one after the other.

A write on loopback runs the other side's receiving code at once and wakes its process. Under load it is
an eighth cheaper (measured) to read and decide on everything that has come first, and then to write.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

_log = logging.getLogger(__name__)


class Outgoing(Protocol):
    """A transport, as far as this is concerned."""

    def write(self, data: bytes, /) -> None: ...

    def is_closing(self) -> bool: ...

    def abort(self) -> None: ...


class LateWrites:
    """Keeps the order in which it was asked. What has closed meanwhile is passed over."""

    __slots__ = ("_queue", "first")

    def __init__(self) -> None:
        self._queue: list[tuple[Outgoing, bytes]] = []
        self.first: Callable[[], None] = lambda: None
        """Called before anything is written: where it raises, nothing is, and the transports end."""

    def add(self, transport: Outgoing, data: bytes) -> None:
        """Write `data` when everything else of this turn is done."""
        if not self._queue:
            asyncio.get_running_loop().call_soon(self.flush)
        self._queue.append((transport, data))

    def flush(self) -> None:
        """Write now. Whoever writes past the queue, or closes, does this first: order is kept so.

        A transport that does not take its data never keeps the others from theirs.
        """
        try:
            self.first()
        except BaseException:
            self._give_up()
            raise
        queue, self._queue = self._queue, []
        for transport, data in queue:
            if transport.is_closing():
                continue
            try:
                transport.write(data)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is this transport's alone
                _log.error("a write failed: %s", type(error).__name__)

    def _give_up(self) -> None:
        queue, self._queue = self._queue, []
        for transport, _ in queue:
            transport.abort()
