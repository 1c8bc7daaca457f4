"""One call of slurmrestd that equal reads wait for together -> its answer for each, given back by the last."""

import asyncio

from gateway.edges.cached_answer import Lent
from gateway.edges.upstream_answer import Answer

_UNWANTED = -1
"""The number of a flight that nobody joins any more."""


class Flight:
    """One call under way. `streamed` is an answer too large to be kept: the first who takes it has it."""

    def __init__(self, number: int, begun: float, leader: tuple[str, str]) -> None:
        self.number = number
        self.begun = begun
        self.leader = leader
        self.most_bytes = 0
        """How long an answer is kept for all, as those who wait for it wish."""
        self.waiters = 0
        self.is_seated = False
        self.lent: Lent | None = None
        self.shared: Answer | None = None
        """Neither kept nor large: an error, or nothing at all."""
        self.streamed: Answer | None = None
        self.task: asyncio.Task[None]

    def take(self) -> Answer | None:
        """What is too large for all, for one."""
        answer, self.streamed = self.streamed, None
        return answer

    def left(self) -> None:
        """One waiter less: what nobody has taken by then, nobody wants.

        Nor a connection, for which it would stand in line: nobody holds more places there than requests.
        """
        self.waiters -= 1
        if not (self.waiters or self.is_seated or self.task.done()):
            self.number = _UNWANTED
            self.task.cancel()
        self.clear()

    def clear(self) -> None:
        """Give back what is left, once nobody waits and it has landed."""
        if self.waiters or not self.task.done():
            return
        answer, lent = self.take(), self.lent
        if answer is not None:
            answer.close()
        if lent is not None:
            lent.give_back()
