"""Pieces of a request body -> one whole Body: in memory, or beyond a size in an unlinked 0600 file."""

import asyncio
import hashlib
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

_FLUSH_BYTES = 1_048_576
"""A file takes pieces of this size, each written in a thread, so that a busy disk stalls nobody else."""


class SpooledBody:
    """A whole body; fills `gateway.model.Body`."""

    def __init__(self, content: IO[bytes], length: int, sha256: str) -> None:
        self._content = content
        self.length = length
        self.sha256 = sha256

    def read(self, size: int, /) -> bytes:
        """The next bytes, b"" at the end."""
        return self._content.read(size)

    def rewind(self) -> None:
        """Begin again."""
        self._content.seek(0)

    def close(self) -> None:
        """Give up memory or disk; a second call does nothing."""
        self._content.close()


def memory_body(whole: bytes) -> SpooledBody:
    """A body that is there at once."""
    return SpooledBody(BytesIO(whole), len(whole), hashlib.sha256(whole).hexdigest())


class Spooling:
    """One body on its way in."""

    def __init__(self, memory_bytes: int, directory: Path) -> None:
        self._memory_bytes = memory_bytes
        self._directory = directory
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._file: IO[bytes] | None = None
        self._hash = hashlib.sha256()
        self.length = 0

    async def append(self, piece: bytes) -> None:
        """Take one piece. Raises OSError where the disk does not take it."""
        self.length += len(piece)
        self._pending.append(piece)
        self._pending_bytes += len(piece)
        full = self._memory_bytes if self._file is None else _FLUSH_BYTES
        if self._pending_bytes > full:
            await self._flush()

    async def _flush(self) -> None:
        pieces, self._pending, self._pending_bytes = self._pending, [], 0
        await asyncio.get_running_loop().run_in_executor(None, self._write, pieces)

    def _write(self, pieces: list[bytes]) -> None:
        if self._file is None:
            self._file = unlinked_file(self._directory)
        for piece in pieces:
            self._hash.update(piece)
            self._file.write(piece)

    async def finish(self) -> SpooledBody:
        """The whole body, at its beginning."""
        if self._file is None:
            whole = b"".join(self._pending)
            return memory_body(whole)
        await self._flush()
        content, self._file = self._file, None
        content.seek(0)
        return SpooledBody(content, self.length, self._hash.hexdigest())

    def discard(self) -> None:
        """Give up what `finish` has not handed over."""
        self._pending.clear()
        if self._file is not None:
            self._file.close()


class Spool:
    """Where bodies go: `memory_bytes` each in memory, more into `directory`."""

    def __init__(self, memory_bytes: int, directory: Path) -> None:
        self._memory_bytes = memory_bytes
        self._directory = directory

    def begin(self) -> Spooling:
        """Room for one body."""
        return Spooling(self._memory_bytes, self._directory)


def unlinked_file(directory: Path) -> IO[bytes]:
    """A 0600 file that has no name, so that nobody else opens it and nothing is left behind.

    With O_TMPFILE; where the file system has none, unlinked as soon as it is made.
    """
    return TemporaryFile(dir=directory)
