"""A journal in the course of time: heads, keys that move on, and a look at the file while nobody asks."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from gateway.audit.chain import ChainKey
from gateway.audit.journal import Journal

_TICK_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Head(NamedTuple):
    """A line that is on disk: whoever keeps number and MAC elsewhere can tell that none before is missing."""

    chain: str
    seq: int
    mac: str


class Intervals(NamedTuple):
    """When a head is written, and when the key moves on: whichever of the two comes first."""

    head_seconds: float = 60.0
    key_seconds: float = 3600.0
    key_lines: int = 10_000


class Upkeep:
    """`save` keeps a key on disk, in place of the one before."""

    def __init__(
        self,
        journal: Journal,
        save: Callable[[ChainKey], Awaitable[None]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.intervals = Intervals()
        self.head: Head | None = None
        self._journal = journal
        self._save = save
        self._now = now
        self._head_at, self._key_at = now(), now()
        self._head_seq = self._key_seq = journal.chain.seq
        self._unsaved: ChainKey | None = None

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            await self.tick()

    async def tick(self) -> None:
        """Do what is due. Where the audit cannot be written, it is done later."""
        self._journal.look()
        if self._unsaved is not None:
            await self._keep(self._unsaved)
        if self._is_key_due():
            await self.move_key()
        if self._journal.chain.seq > self._head_seq and (
            self._now() - self._head_at >= self.intervals.head_seconds
        ):
            await self.write_head()

    def _is_key_due(self) -> bool:
        lines = self._journal.chain.seq - self._key_seq
        is_old = self._now() - self._key_at >= self.intervals.key_seconds
        return lines >= self.intervals.key_lines or (lines > 0 and is_old)

    async def write_head(self) -> None:
        """Published only once it is on disk, so that no kept head is ever ahead of the files."""
        journal = self._journal
        facts = {
            "epoch": journal.chain.key.epoch,
            "head": journal.chain.mac.hex(),
            "oldest": journal.oldest,
        }
        if not journal.event("head", facts):
            return
        head = Head(journal.chain.key.chain, journal.chain.seq, journal.chain.mac.hex())
        self._head_at, self._head_seq = self._now(), head.seq
        try:
            await journal.settle(durable=True)
        except OSError:
            return
        self.head = head

    async def move_key(self) -> None:
        """The line first, then the key: from the line and the old key, the new one can be made again."""
        journal = self._journal
        following = journal.chain.key.following()
        if not journal.event("key", {"epoch": following.epoch}):
            return
        journal.use_key(following)
        self._key_at, self._key_seq = self._now(), journal.chain.seq
        await self._keep(following)

    async def _keep(self, key: ChainKey) -> None:
        """The old key is forgotten only when the line that ends its epoch is on disk."""
        self._unsaved = key
        try:
            await self._journal.settle(durable=True)
            await self._save(key)
        except OSError as error:
            _log.warning("the audit's key is not saved yet: %s", error.strerror)
        else:
            self._unsaved = None
