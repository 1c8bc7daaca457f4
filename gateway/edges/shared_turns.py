"""Requests of all processes with one key -> one after the other: the process's own line, then a lease in the store.

A lease ends by itself where its process dies. One that is cut off from the store for longer than its lease
sends nothing more on it; what others then find begun, they look for in Slurm before they send it again.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.denial import Denied, Reason
from gateway.edges.key_turns import KeyTurns
from gateway.edges.shared_keys import USE
from gateway.edges.store import Store, StoreAway

LEASE_SECONDS: Final = 15.0
_SCRIPT: Final = Path(__file__).with_name("lua") / "turns.lua"
_FIRST_PAUSE_SECONDS: Final = 0.02
_LONGEST_PAUSE_SECONDS: Final = 0.5
_RETRY: Final = (("Retry-After", "5"),)

_log = logging.getLogger(__name__)


class SharedTurns(KeyTurns):
    """As KeyTurns, for all processes that share a store."""

    def __init__(
        self,
        store: Store,
        holder: str,
        monotonic: Callable[[], float],
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        super().__init__(holder, monotonic)
        self._store = store
        self._lease_seconds = lease_seconds
        self._held_until: dict[str, float] = {}
        self._script = store.client.register_script(_SCRIPT.read_text("utf-8"))

    @asynccontextmanager
    async def turn(
        self, key_hash: str, fingerprint: str, seconds: float, when_waiting: Callable[[], None]
    ) -> AsyncIterator[None]:
        """As there, and Raises Denied(IDEMPOTENCY_UNAVAILABLE) while the store is away."""
        end = self.monotonic() + seconds
        async with super().turn(key_hash, fingerprint, seconds, when_waiting):
            lease = f"{self.holder}:{secrets.token_hex(8)}"
            try:
                await self._take(key_hash, lease, end, when_waiting)
            except StoreAway as away:
                raise Denied(Reason.IDEMPOTENCY_UNAVAILABLE, str(away), headers=_RETRY) from None
            keeping = asyncio.create_task(self._keep(key_hash, lease))
            try:
                yield
            finally:
                keeping.cancel()
                self._held_until.pop(key_hash, None)
                await self._give_back(key_hash, lease)

    async def _take(
        self, key_hash: str, lease: str, end: float, when_waiting: Callable[[], None]
    ) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            asked = self.monotonic()
            if await self._ask("take", key_hash, lease):
                self._held_until[key_hash] = asked + self._lease_seconds
                return
            when_waiting()
            if asked + pause > end:
                note = "another process works on the first request"
                raise Denied(Reason.IDEMPOTENCY_IN_PROGRESS, note, headers=_RETRY)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _keep(self, key_hash: str, lease: str) -> None:
        """Make it last as long as the request does."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            asked = self.monotonic()
            try:
                if not await self._ask("keep", key_hash, lease):
                    self._held_until[key_hash] = 0.0
                    return
            except StoreAway:
                continue
            self._held_until[key_hash] = asked + self._lease_seconds

    async def _give_back(self, key_hash: str, lease: str) -> None:
        """Where that fails it ends by itself."""
        with suppress(StoreAway):
            await asyncio.shield(self._ask("give back", key_hash, lease))

    async def _ask(self, what: str, key_hash: str, lease: str) -> bool:
        key = f"{self._store.prefix}:turn:{key_hash}"
        milliseconds = int(1000 * self._lease_seconds)
        question = [what, lease, milliseconds]
        return bool(await self._store.run(USE, self._script, [key], question))

    def is_lost(self, key_hash: str) -> bool:
        """Whether another process may have the turn by now."""
        return self.monotonic() >= self._held_until.get(key_hash, 0.0)

    def broken_at(self, key_hash: str, *, is_ours: bool) -> float:  # noqa: ARG002 (others live, too)
        """Now, unless it was noticed before: whoever sent it may have lived a moment ago."""
        return super().broken_at(key_hash, is_ours=True)
