"""Requests of this process with one key -> one after the other; and when a request of a key broke off."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.denial import Denied, Reason

_RETRY_AFTER = (("Retry-After", "5"),)


class _Line:
    """Who has this key's turn, and how many want it. `fingerprint` is of what runs."""

    __slots__ = ("fingerprint", "lock", "wanted")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.wanted = 0
        self.fingerprint = ""


class KeyTurns:
    """The process's own, whatever is reloaded. Times are of a clock that never jumps.

    `holder` names this process in what it remembers. What another process left behind broke off
    before this one was started.
    """

    def __init__(self, holder: str, monotonic: Callable[[], float]) -> None:
        self.holder = holder
        self.monotonic = monotonic
        self._started = monotonic()
        self._lines: dict[str, _Line] = {}
        self._broken: dict[str, float] = {}

    @asynccontextmanager
    async def turn(
        self, key_hash: str, fingerprint: str, seconds: float, when_waiting: Callable[[], None]
    ) -> AsyncIterator[None]:
        """Wait for this key's turn. Raises Denied(IDEMPOTENCY_KEY_REUSED or IDEMPOTENCY_IN_PROGRESS)."""
        line = self._lines.setdefault(key_hash, _Line())
        if line.fingerprint not in ("", fingerprint):
            raise Denied(Reason.IDEMPOTENCY_KEY_REUSED, "its first request is running")
        line.wanted += 1
        try:
            if line.lock.locked():
                when_waiting()
            await _acquire(line.lock, seconds)
            try:
                line.fingerprint = fingerprint
                yield
            finally:
                line.lock.release()
        finally:
            line.wanted -= 1
            if not line.wanted:
                del self._lines[key_hash]

    def is_lost(self, key_hash: str) -> bool:  # noqa: ARG002 (nobody can take it away here)
        """Whether somebody else may have this key's turn by now."""
        return False

    def note_broken(self, key_hash: str) -> None:
        """A request of this key ended now, and its outcome is not known."""
        self._broken[key_hash] = self.monotonic()

    def note_known(self, key_hash: str) -> None:
        """The outcome is known."""
        self._broken.pop(key_hash, None)

    def broken_at(self, key_hash: str, *, is_ours: bool) -> float:
        """When the last request of this key ended at the latest. One of ours that is not known ends now."""
        if not is_ours:
            return self._started
        return self._broken.setdefault(key_hash, self.monotonic())

    def clean(self, age_seconds: float) -> None:
        """Forget what has expired in the store long ago."""
        oldest = self.monotonic() - age_seconds
        for key_hash in [key for key, when in self._broken.items() if when < oldest]:
            del self._broken[key_hash]


async def _acquire(lock: asyncio.Lock, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await lock.acquire()
    except TimeoutError as error:
        note = f"waited {seconds:g} s for the first request"
        raise Denied(Reason.IDEMPOTENCY_IN_PROGRESS, note, headers=_RETRY_AFTER) from error
