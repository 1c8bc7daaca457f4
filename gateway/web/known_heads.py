"""Heads that were answered well -> what was made of them, for every connection from the same address."""

import asyncio
from typing import Final

from gateway.web.head_memo import HeadMemo

LONGEST_HEAD: Final = 16_384
MOST_HEADS: Final = 4096
MOST_BYTES: Final = 8_388_608
SWEEP_SECONDS: Final = 30.0
"""What nobody has sent for twice as long is forgotten, with the credentials that it holds."""


class KnownHeads:
    """By the bytes of a head and the address that they come from: both, because decisions go by both.

    Only what a stage has let through gets in, so that strangers cannot push others out. Where there is no
    room, the first goes that nobody has used since it was passed over the last time.
    """

    def __init__(
        self,
        most: int = MOST_HEADS,
        most_bytes: int = MOST_BYTES,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._sweep_seconds = sweep_seconds
        self._memos: dict[tuple[bytes, str | None], HeadMemo] = {}
        self._bytes = 0
        self._sweeping: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._memos)

    def find(self, data: bytes, peer: str | None) -> HeadMemo | None:
        """What is known of exactly this head from exactly this address."""
        return self._memos.get((data, peer)) if len(data) <= LONGEST_HEAD else None

    def keep(self, memo: HeadMemo) -> None:
        """Have it found, unless another of the same head is found already."""
        sent = memo.sent
        if sent is None or len(sent.data) > LONGEST_HEAD or sent[:2] in self._memos:
            return
        while self._memos and (
            len(self._memos) >= self._most or self._bytes + len(sent.data) > self._most_bytes
        ):
            self._make_room()
        self._memos[sent[:2]] = memo
        self._bytes += len(sent.data)
        memo.is_shared = memo.was_used = True
        if self._sweeping is None:
            self._sweep_later()

    def _make_room(self) -> None:
        unused = next(filter(self._gives_way, self._memos), None)
        self._drop(next(iter(self._memos)) if unused is None else unused)

    def _gives_way(self, key: tuple[bytes, str | None]) -> bool:
        """Not if it was used; but it is passed over for that only once."""
        memo = self._memos[key]
        was_used, memo.was_used = memo.was_used, False
        return not was_used

    def _drop(self, key: tuple[bytes, str | None]) -> None:
        memo = self._memos.pop(key)
        self._bytes -= len(key[0])
        memo.is_shared, memo.lane = False, None

    def _sweep_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweeping = loop.call_later(self._sweep_seconds, self._sweep)

    def _sweep(self) -> None:
        self._sweeping = None
        for key, memo in list(self._memos.items()):
            if memo.was_used:
                memo.was_used = False
            else:
                self._drop(key)
        if self._memos:
            self._sweep_later()
