"""A key store in memory, held to the same contract as the file; and a world of keys with time of its own."""

import asyncio
from dataclasses import replace

from gateway.stages.idempotency import (
    Caps,
    KeyEntry,
    KeysExceeded,
    KeyStoreDoubt,
    StoredAnswer,
    Terms,
)

CAPS = Caps(1000, 10_000)
SETTLE_SECONDS = 20.0
JOB_AGE_SECONDS = 300.0
TERMS = Terms(
    keep_seconds=86_400,
    wait_seconds=45,
    marker_field="comment",
    maximum_answer_bytes=65_536,
    caps=CAPS,
)


class FakeKeyStore:
    """Fills `gateway.stages.idempotency.KeyStore`. `fails` names methods that raise KeyStoreDoubt."""

    def __init__(self) -> None:
        self.entries: dict[str, KeyEntry] = {}
        self.fails: set[str] = set()

    async def _touch(self, method: str) -> None:
        await asyncio.sleep(0)
        if method in self.fails:
            raise KeyStoreDoubt(f"{method} fails")

    async def begin(self, fresh: KeyEntry, now: float, caps: Caps) -> KeyEntry:
        await self._touch("begin")
        held = self.entries.get(fresh.key_hash)
        if held is not None and held.expires > now:
            return held
        others = [one for one in self.entries.values() if one is not held]
        if sum(one.identity_hash == fresh.identity_hash for one in others) >= caps.each:
            raise KeysExceeded("of this identity")
        if len(others) >= caps.in_all:
            raise KeysExceeded("of all")
        self.entries[fresh.key_hash] = fresh
        return fresh

    async def begin_again(self, entry: KeyEntry) -> None:
        await self._touch("begin_again")
        self.entries[entry.key_hash] = entry

    async def finish(self, key_hash: str, answer: StoredAnswer) -> None:
        await self._touch("finish")
        if key_hash in self.entries:
            self.entries[key_hash] = replace(self.entries[key_hash], answer=answer)

    async def forget(self, key_hash: str) -> None:
        await self._touch("forget")
        self.entries.pop(key_hash, None)

    async def purge(self, now: float) -> int:
        await self._touch("purge")
        gone = [key for key, entry in self.entries.items() if entry.expires <= now]
        for key in gone:
            del self.entries[key]
        return len(gone)
