"""(question, what it is for) -> the answer of a Valkey or Redis server, or StoreAway, at once while it is away.

Nothing is asked twice: what may have been done is not done again. After a failure the server is left
alone for a while; then one caller tries it, and the others go on without until that has succeeded.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.commands.core import AsyncScript

T = TypeVar("T")

_PREFIX: Final = "slurm-gateway"
_NO: Final = "NO "

_log = logging.getLogger(__name__)


class StoreAway(Exception):
    """The store gave no answer. The text says why, for the audit."""


class StoreRefuses(Exception):
    """One of our own scripts says no: its error began with NO, and this is the rest of it."""


class Store:
    """One for a process. `errors` are what the client raises.

    `tell` hears when it goes away (why) and when it is back (the empty text).
    """

    def __init__(
        self,
        client: "Redis",
        cluster: str,
        *,
        errors: tuple[type[Exception], ...],
        timeout_seconds: float,
        retry_seconds: float,
        monotonic: Callable[[], float],
        connections: int = 16,
    ) -> None:
        self.client = client
        self._errors = errors
        self.prefix = f"{_PREFIX}:{cluster}"
        self.problem = ""
        self.missed: dict[str, int] = {}
        """Questions without an answer, by what they were for."""
        self.tell: Callable[[str], None] = lambda _: None
        self._timeout = timeout_seconds
        self._retry = retry_seconds
        self._monotonic = monotonic
        self._try_at = 0.0
        self._room = asyncio.Semaphore(connections)

    async def ask(self, use: str, question: Callable[[], Awaitable[T]]) -> T:
        """The answer. Raises StoreAway.

        How long one waits for a connection says nothing of the server: many questions at once, which
        strangers can bring about, must not make it look away.
        """
        async with self._room:
            return await self._ask(use, question)

    async def _ask(self, use: str, question: Callable[[], Awaitable[T]]) -> T:
        if self.problem:
            now = self._monotonic()
            if now < self._try_at:
                self.miss(use)
                raise StoreAway(self.problem)
            self._try_at = now + self._retry  # this one tries, the others do not
        try:
            async with _heeding_cancellation(), asyncio.timeout(self._timeout):
                answer = await question()
        except self._errors as error:
            self.miss(use)
            await self._fail(error)
            raise StoreAway(self.problem) from None
        if self.problem:
            self._heal()
        return answer

    async def run(
        self, use: str, script: "AsyncScript", keys: Sequence[str], values: Sequence[Any]
    ) -> Any:
        """What a script returns. Raises StoreAway, StoreRefuses."""
        return await self.ask(use, lambda: self._run(script, keys, values))

    async def _run(self, script: "AsyncScript", keys: Sequence[str], values: Sequence[Any]) -> Any:
        try:
            return await script(keys=list(keys), args=list(values))
        except self._errors as error:
            if str(error).startswith(_NO):
                raise StoreRefuses(str(error).removeprefix(_NO)) from error
            raise

    def miss(self, use: str, count: int = 1) -> None:
        """Count questions without an answer."""
        self.missed[use] = self.missed.get(use, 0) + count

    async def _fail(self, error: Exception) -> None:
        was_here = not self.problem
        text = str(error) or f"no answer in {self._timeout:g} s"
        self.problem = f"{type(error).__name__}: {text}"[:300]
        self._try_at = self._monotonic() + self._retry
        if was_here:
            _log.warning("the store is away: %s", self.problem)
            self.tell(self.problem)
            # what is kept was opened before: each would fail once more, one caller at a time
            with suppress(*self._errors):
                await self.client.connection_pool.disconnect(inuse_connections=False)

    def _heal(self) -> None:
        self.problem = ""
        _log.info("the store is back")
        self.tell("")

    async def keep_watch(self) -> None:
        """For ever: find out that it is back, or away, also while nobody asks anything."""
        while True:
            with suppress(StoreAway):  # told already
                await self.ask("watch", self.client.ping)
            await asyncio.sleep(self._retry)

    async def close(self) -> None:
        """For good."""
        await self.client.aclose()
        await self.client.connection_pool.disconnect()


class _heeding_cancellation:  # noqa: N801 (read as a statement)
    """The library loses some cancellations (redis 8.1 on Python 3.11.2: a third of them, at its own time limits).

    A task that was cancelled meanwhile is cancelled at the end at the latest, or it would never stop.
    """

    __slots__ = ("_before", "_task")

    async def __aenter__(self) -> None:
        self._task = asyncio.current_task()
        self._before = self._task.cancelling() if self._task else 0

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None and self._task.cancelling() > self._before:
            raise asyncio.CancelledError
