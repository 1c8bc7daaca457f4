"""A submission with a key -> its course, which begins beside its first record and ends beside its last.

The course is a task of its own, so that the store and the audit wait for their disks at the same time,
once before anything is sent and once before the answer's last byte.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from gateway.edges.upstream_answer import Answer
from gateway.model import Grant


class Dropped(Exception):
    """The request is not going to be sent: it was refused, or its client has gone."""


class Course:
    """What the request's own task and the course tell each other."""

    _task: asyncio.Task[None]

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._granted: asyncio.Future[Grant] = loop.create_future()
        self._answered: asyncio.Future[Answer] = loop.create_future()
        self.is_dropped = False

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin. What `work` raises before it tells an answer is raised by `answer`."""
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._end)

    # the course's side

    async def granted(self) -> Grant:
        """Wait until its first record is safe. Raises Dropped where it never will be."""
        return await self._granted

    def tell(self, answer: Answer) -> None:
        """The answer; what the course does from now on is waited for before the answer's last byte."""
        if self._answered.done():  # nobody wants it any more
            answer.close()
        else:
            self._answered.set_result(answer)

    def _end(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if self.is_dropped or self._answered.done():
            return
        if error is None:
            self._answered.cancel()
        else:
            self._answered.set_exception(error)

    # the request's side

    async def answer(self, grant: Grant) -> Answer:
        """Go on: it may be sent. Raises what the course raises; cancelling this cancels the course."""
        self._granted.set_result(grant)
        try:
            return await self._answered
        except asyncio.CancelledError:
            if self._answered.done() and not self._answered.cancelled():
                self._close_answer()
            else:
                self._task.cancel()
            raise

    def _close_answer(self) -> None:
        if self._answered.exception() is None:
            self._answered.result().close()

    def drop(self) -> None:
        """It is not going to be sent: the course frees the key again, and nobody waits for that."""
        self.is_dropped = True
        if not self._granted.done():
            self._granted.set_exception(Dropped())
            self._granted.exception()  # a course that has failed already does not ask for it
        if self._answered.done() and not self._answered.cancelled():
            self._close_answer()

    async def wait(self) -> None:
        """Until everything that belongs to the request is on disk, or cannot be. Never raises.

        What has not been granted by now, because something in front refused to send it, never will be.
        """
        if not self._granted.done():
            self.drop()
        if not self._task.done():
            await asyncio.wait((self._task,))
