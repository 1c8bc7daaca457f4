"""Pages that glibc keeps in its heap after a crowd has gone -> given back to the machine, off the event loop."""

import asyncio
import ctypes
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

TIDY_SECONDS: Final = 2.0
LONGEST_SECONDS: Final = 16.0
_WORTH_BYTES: Final = 1 << 20
_GROWTH: Final = 1.03
_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """This process's pages in memory (proc(5), statm, field 2)."""
    return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES


def trim() -> None:
    """malloc_trim(3), where the C library has it; without the interpreter's lock."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class SpareMemory:
    """Trims only above the least that it has seen, and ever more rarely while that frees nothing."""

    def __init__(
        self, resident: Callable[[], int] = resident_bytes, trim: Callable[[], None] = trim
    ) -> None:
        self._resident = resident
        self._trim = trim
        self._least = resident()
        self.pause_seconds = TIDY_SECONDS
        """Until the next look."""

    async def look(self) -> None:
        """Trim if there is more than the least, and remember what that came to."""
        before = self._resident()
        if before <= self._least * _GROWTH:
            self._least = min(self._least, before)
            self.pause_seconds = TIDY_SECONDS
            return
        await asyncio.to_thread(self._trim)
        after = self._resident()
        self._least = min(self._least, after)
        helped = before - after >= _WORTH_BYTES
        self.pause_seconds = (
            TIDY_SECONDS if helped else min(self.pause_seconds * 2, LONGEST_SECONDS)
        )

    async def keep(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(self.pause_seconds)
            await self.look()
