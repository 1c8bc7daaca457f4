"""What the journal asks of the places that lines go to."""

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Turn(NamedTuple):
    """Something happened to a sink that belongs into the audit: first of all, a new file was begun."""

    event: str
    facts: Mapping[str, object]


class MainSink(Protocol):
    """The sink that decides: a line counts as written once this one has it.

    Called on the event loop; everything but `settle` returns at once. Whatever fails raises OSError.
    """

    size: int
    """The offset that the next line begins at."""
    room_to: int
    """A line that ends before this offset has its room already."""

    may_lag: bool
    """Whether `lags` is ever true."""

    @property
    def lags(self) -> bool:
        """Whether lines that were written still wait in this process."""
        ...

    def begin(self, problem: str = "") -> Turn | None:
        """Be written to from now on, and by nobody else; with a problem, leave alone what is there."""
        ...

    def write(self, lines: Sequence[bytes]) -> int:
        """Hand over as many whole lines as can be, the first ones first: their number, one at least.

        Raises OSError where there is not one.
        """
        ...

    def make_room(self, count: int) -> None:
        """Set room apart, so that `room_to` is `size` + `count` at least."""
        ...

    def look(self) -> Turn | None:
        """See whether something happened from outside, and rotate where it is time to."""
        ...

    def rotate(self) -> Turn | None:
        """Begin a new file, because somebody asks for it."""
        ...

    def repair(self) -> Turn | None:
        """After a failure: make lines possible again. OSError where that does not succeed."""
        ...

    async def settle(self, *, durable: bool) -> None:
        """Wait until all lines so far have left this process; if `durable`, until they are on disk.

        Raises OSError, in less than a second also where nothing happens.
        """
        ...

    def close(self) -> None: ...


class OtherSink(Protocol):
    """A sink behind a queue. It takes lines in order and never stalls anybody."""

    required: bool
    dropped: int
    """Lines that it did not get."""

    @property
    def problem(self) -> str:
        """What is wrong; empty where lines arrive."""
        ...

    def put(self, line: bytes) -> None:
        """Take a line, or count it as dropped."""
        ...

    async def settle(self) -> None:
        """Wait until all lines so far have arrived. Raises OSError in less than a second."""
        ...

    def close(self) -> None: ...


class Keeper(Protocol):
    """Where the number and MAC of the last line are remembered beside the lines."""

    def note(self, seq: int, epoch: int, mac: bytes) -> None: ...


class Nowhere:
    """The main sink where no sink is required: everything counts as written."""

    size = 0
    room_to = sys.maxsize
    may_lag = lags = False

    def begin(self, problem: str = "") -> Turn | None:
        """Nothing to begin."""

    def write(self, lines: Sequence[bytes]) -> int:
        """Take every line."""
        return len(lines)

    def make_room(self, count: int) -> None:
        """There is always room."""

    def look(self) -> Turn | None:
        """Nothing ever happens."""
        return None

    rotate = repair = look

    async def settle(self, *, durable: bool) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to close."""


class Forgetful:
    """Remembers nothing: a chain that ends with its process."""

    def note(self, seq: int, epoch: int, mac: bytes) -> None:
        """Forget it."""
