"""A file that is written and rotated -> its lines as they come, like `tail -F`."""

import os
from pathlib import Path

from gateway.audit_log.lines import claim_of

_READ_BYTES = 1 << 20


class Tail:
    """Follows a name. `gap` tells of lines that were in files which came and went between two looks."""

    def __init__(self, path: Path, *, from_start: bool = False) -> None:
        self.path = path
        self.line = 0
        """The number of the last line that was given, counted from where following began."""
        self.gap = ""
        self._descriptor = -1
        self._part = b""
        self._last: tuple[str, int] | None = None
        self._open()
        if self._descriptor >= 0 and not from_start:
            self._go_to_the_end()

    def _go_to_the_end(self) -> None:
        """Behind the last whole line, so that one that is being written comes whole."""
        size = os.fstat(self._descriptor).st_size
        begins = max(0, size - _READ_BYTES)
        rest = os.pread(self._descriptor, _READ_BYTES, begins)
        os.lseek(self._descriptor, begins + rest.rfind(b"\n") + 1, os.SEEK_SET)

    def poll(self) -> list[bytes]:
        """Whole lines that have come since, and what a file has left unfinished.

        A file that is not there yet is waited for.
        """
        self.gap = ""
        lines = self._read()
        if not lines and self._was_replaced():
            lines = self._read()  # what was written between the look and the rotation
            if not lines:
                cut_off = [self._part] if self._part else []
                self._reopen()
                lines = [*cut_off, *self._read()]
                self.line = -len(cut_off)
        self.line += len(lines)
        self._look_for_a_gap(lines)
        return lines

    def close(self) -> None:
        """The file may be removed."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self._descriptor = -1

    def _reopen(self) -> None:
        self.close()
        self._part, self.line = b"", 0
        self._open()

    def _was_replaced(self) -> bool:
        """Another file has the name, or this one was cut short."""
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        if self._descriptor < 0:
            return True
        opened = os.fstat(self._descriptor)
        position = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        return not os.path.samestat(named, opened) or opened.st_size < position

    def _read(self) -> list[bytes]:
        if self._descriptor < 0:
            return []
        content = self._part + os.read(self._descriptor, _READ_BYTES)
        *whole, self._part = content.split(b"\n")
        return [line + b"\n" for line in whole]

    def _look_for_a_gap(self, lines: list[bytes]) -> None:
        claims = [claim for line in lines if (claim := claim_of(line))]
        if not claims:
            return
        (chain, seq), last = claims[0], self._last
        if last and last[0] == chain and seq > last[1] + 1:
            self.gap = f"lines {last[1] + 1} to {seq - 1} came and went unseen; search the files"
        self._last = claims[-1]
