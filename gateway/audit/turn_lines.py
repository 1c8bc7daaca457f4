"""Lines of one turn of the event loop -> written together at its end, before anything of that turn is sent."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

_log = logging.getLogger(__name__)


class Later(Protocol):
    """What is sent at the end of a turn of the event loop. `first` is called before any of it."""

    first: Callable[[], None]


TurnLine = tuple[str, str, Callable[[OSError], None] | None]
"""(request id, body, who hears that it was not written). The latter is None for a last line of a request."""


class TurnLines:
    """`write_all` tells how many it has written, from the first on; `write_alone` then gets each of the others."""

    def __init__(
        self,
        write_all: Callable[[Sequence[TurnLine]], int],
        write_alone: Callable[[TurnLine], None],
    ) -> None:
        self._write_all = write_all
        self._write_alone = write_alone
        self._lines: list[TurnLine] = []
        self.goes_first = False
        """Whether what is sent in a turn is known to wait for its lines."""

    def go_before(self, later: Later) -> None:
        """Whoever adds lines sends by this alone what must not go out before them."""
        later.first = self.flush
        self.goes_first = True

    def add(self, line: TurnLine) -> int:
        """Which one of the turn it is. They are written at its end also where nothing is sent."""
        lines = self._lines
        if not lines:
            asyncio.get_running_loop().call_soon(self.flush)
        lines.append(line)
        return len(lines)

    def flush(self) -> None:
        """Write now what there is."""
        lines = self._lines
        if lines:
            self._lines = []
            for line in lines[self._write_all(lines) :]:
                try:
                    self._write_alone(line)
                except Exception as error:  # noqa: BLE001  # of whoever hears of it: others do, too
                    _log.error("a refusal failed: %s", type(error).__name__)
