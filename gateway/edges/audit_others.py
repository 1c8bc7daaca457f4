"""A file or standard output -> a writer for a queue's thread."""

import os
import sys
from collections import deque
from collections.abc import Callable

from gateway.audit.sinks import Turn
from gateway.edges.audit_file import FileSink


class FileWriter:
    """`tell` hears, in the thread, that a new file was begun. Each batch is brought to disk."""

    def __init__(self, file: FileSink, tell: Callable[[Turn], None]) -> None:
        self._file = file
        self._tell = tell
        self._begun = False

    def write(self, lines: deque[bytes]) -> None:
        """Raises OSError with the lines that are left."""
        if not self._begun:
            self._file.begin()
            self._begun = True
        turn = self._file.look()
        if turn is not None:
            self._tell(turn)
        while lines:
            for _ in range(self._file.write(lines)):
                lines.popleft()
        self._file.commit()

    def close(self) -> None:
        """Bring the rest to disk."""
        self._file.close()


class StreamWriter:
    """Waits for the reader as long as it takes."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor

    def write(self, lines: deque[bytes]) -> None:
        """Raises OSError with the lines that are left."""
        while lines:
            written = os.write(self._descriptor, lines[0])
            if written < len(lines[0]):
                lines[0] = lines[0][written:]
            else:
                lines.popleft()

    def close(self) -> None:
        """Nothing of ours to close."""
