"""The transport of a connection that has ended -> one that takes nothing, so that its buffers are freed at once.

A connection and its exchanges are a cycle, which the garbage collector finds when ten thousand objects
are new; with TLS a buffer of 256 KiB hangs on each transport, and of those it knows nothing.
"""

import asyncio
from typing import Final


class GoneTransport(asyncio.Transport):
    """Whatever is still said to an ended connection goes nowhere."""

    def is_closing(self) -> bool:
        """It has long been closed."""
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nowhere."""

    def can_write_eof(self) -> bool:
        """Nothing can be written."""
        return False

    def close(self) -> None:
        """Again."""

    def abort(self) -> None:
        """Again."""

    def pause_reading(self) -> None:
        """Nothing comes."""

    def resume_reading(self) -> None:
        """Nothing comes."""


GONE: Final = GoneTransport()
