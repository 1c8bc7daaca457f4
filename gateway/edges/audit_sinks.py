"""Lines of the audit -> a file that the gateway rotates itself, or standard output."""

import os
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path

from gateway.model import Clock


class StdoutSink:
    """Standard output, one write a line."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdout.fileno() if descriptor is None else descriptor

    def write(self, line: bytes) -> None:
        """Hand the whole line to the kernel. Raises OSError."""
        _write_all(self._descriptor, line)

    def probe(self) -> None:
        """A closed descriptor raises OSError."""
        os.fstat(self._descriptor)

    def close(self) -> None:
        """Nothing of ours to close."""


class FileSink:
    """A 0600 file, appended to; at `rotate_bytes` it is renamed with its time and a new one begun."""

    def __init__(self, path: Path, rotate_bytes: int, now: Clock) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._now = now
        self._descriptor = -1
        self._size = 0
        self._open()

    def write(self, line: bytes) -> None:
        """Hand the whole line to the kernel. Raises OSError; a part of a line is taken back."""
        if self._descriptor < 0:
            self._open()
        if self._size and self._size + len(line) > self._rotate_bytes:
            self._rotate()
        try:
            _write_all(self._descriptor, line)
        except OSError:
            self._take_back()
            raise
        self._size += len(line)

    def probe(self) -> None:
        """Raise OSError where the file could not take a line now."""
        if self._descriptor < 0:
            self._open()
        _write_all(self._descriptor, b"")
        room = os.fstatvfs(self._descriptor)
        if room.f_bavail * room.f_frsize < 1 << 20:
            raise OSError(28, "less than 1 MiB free")

    def close(self) -> None:
        """Close the file; a later write opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise OSError(22, f"{self._path} is not a regular file")
        os.fchmod(descriptor, 0o600)
        self._descriptor, self._size = descriptor, status.st_size

    def _rotate(self) -> None:
        moment = datetime.fromtimestamp(self._now(), UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        rotated = self._path.with_name(f"{self._path.stem}-{moment}{self._path.suffix}")
        if rotated.exists():  # two within a microsecond, or a clock set back: never overwrite
            return
        self._path.rename(rotated)
        self.close()
        self._open()

    def _take_back(self) -> None:
        """Cut off a line that a full disk has let in by half, so that every line stays whole."""
        try:
            os.ftruncate(self._descriptor, self._size)
        except OSError:
            self.close()


def _write_all(descriptor: int, line: bytes) -> None:
    written = os.write(descriptor, line)
    while written < len(line):
        written += os.write(descriptor, line[written:])
