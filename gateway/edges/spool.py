"""Pieces of a request body -> one whole Body: in memory, or beyond a size in an unlinked 0600 file."""

import asyncio
import errno
import hashlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TypeVar, cast

_BATCH_BYTES = 524_288
"""The threads take this much of a body at a time."""
_MOST_BATCHES = 2
"""So many wait for the threads or are under way in them; whoever brings more waits."""
_AT_ONCE_BYTES = 262_144
"""A body of this size is hashed in 0.15 ms, not worth a thread."""
_MOST_PIECES = 8
"""More pieces than these are joined first: each gives up and takes back the interpreter's lock."""
_PAIRS = 2
_PATIENCE_SECONDS = 30.0
"""A disk that takes longer than this for a batch is no disk to wait for."""

T = TypeVar("T")


class Thread:
    """One thread that does what it is given in that order; it runs from the first task on."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "spool")

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Have it done. Raises OSError where the machine gives no thread."""
        try:
            return self._executor.submit(function)
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, "no thread can be started") from error

    def finally_do(self, function: Callable[[], None]) -> None:
        """Have it done behind the rest, or at once where there is no thread. Nobody hears of errors."""
        with suppress(OSError):
            self.submit(function)
            return
        with suppress(OSError):
            function()


@dataclass(frozen=True, slots=True)
class Pair:
    """The threads of one body: SHA-256 takes 0.5 ms for a MiB, and a file nearly as much."""

    hasher: Thread
    writer: Thread


class SpooledBody:
    """A whole body; fills `gateway.model.Body`."""

    def __init__(
        self, content: IO[bytes], length: int, sha256: str, close: Callable[[], None]
    ) -> None:
        self._content = content
        self._close = close
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
        self._close()


def memory_body(whole: bytes) -> SpooledBody:
    """A body that is there at once."""
    content = BytesIO(whole)
    return SpooledBody(content, len(whole), _sha256(whole), content.close)


class Spooling:
    """One body on its way in. What is beyond memory is hashed and written by two threads, by batches.

    So a body takes `memory_bytes` and three batches at most, however slow the disk is.
    """

    def __init__(
        self,
        memory_bytes: int,
        directory: Path,
        threads: Pair,
        *,
        patience_seconds: float = _PATIENCE_SECONDS,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._directory = directory
        self._threads = threads
        self._patience_seconds = patience_seconds
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._batches: deque[tuple[Future[None], ...]] = deque()
        self._is_on_disk = self._is_handed_over = False
        self._file: IO[bytes] | None = None
        self._hash = hashlib.sha256()
        self.length = 0

    async def append(self, piece: bytes) -> None:
        """Take one piece. Raises OSError where the disk did not take an earlier one."""
        self.length += len(piece)
        self._pending.append(piece)
        self._pending_bytes += len(piece)
        full = _BATCH_BYTES if self._is_on_disk else self._memory_bytes
        if self._pending_bytes > full:
            self._hand_over()
            await self._catch_up(_MOST_BATCHES)

    def _hand_over(self) -> None:
        pieces, self._pending, self._pending_bytes = self._pending, [], 0
        self._is_on_disk = True
        if len(pieces) > _MOST_PIECES:
            pieces = [b"".join(pieces)]
        written = self._threads.writer.submit(partial(self._write, pieces))
        self._batches.append((written, self._threads.hasher.submit(partial(self._update, pieces))))

    async def _catch_up(self, most: int) -> None:
        """Wait until at most so many batches are not yet on disk."""
        try:
            async with asyncio.timeout(self._patience_seconds):
                while len(self._batches) > most:
                    for task in self._batches[0]:
                        await asyncio.wrap_future(task)
                    self._batches.popleft()
        except TimeoutError as error:
            raise OSError(errno.EIO, "the disk does not answer") from error

    def _write(self, pieces: list[bytes]) -> None:
        """In the writer."""
        if self._file is None:
            self._file = unlinked_file(self._directory)
        for piece in pieces:
            self._file.write(piece)

    def _update(self, pieces: list[bytes]) -> None:
        """In the hasher."""
        for piece in pieces:
            self._hash.update(piece)

    async def finish(self) -> SpooledBody:
        """The whole body, at its beginning. Raises OSError where the disk did not take it."""
        if not self._is_on_disk:
            return await self._in_memory()
        self._hand_over()
        self._batches.append((self._threads.writer.submit(self._rewind),))
        await self._catch_up(0)
        content, self._is_handed_over = cast("IO[bytes]", self._file), True
        # To give back 50 MB takes a file system 4 ms, in which the event loop does better things.
        close = partial(self._threads.writer.finally_do, content.close)
        return SpooledBody(content, self.length, self._hash.hexdigest(), close)

    def _rewind(self) -> None:
        """In the writer; what is left in the file's own buffer goes to the disk too."""
        cast("IO[bytes]", self._file).seek(0)

    async def _in_memory(self) -> SpooledBody:
        whole = b"".join(self._pending)
        if self.length <= _AT_ONCE_BYTES:
            sha256 = _sha256(whole)
        else:
            sha256 = await asyncio.wrap_future(self._threads.hasher.submit(partial(_sha256, whole)))
        content = BytesIO(whole)
        return SpooledBody(content, self.length, sha256, content.close)

    def discard(self) -> None:
        """Give up what `finish` has not handed over; the file behind what the writer is at."""
        self._pending.clear()
        for batch in self._batches:
            for task in batch:
                task.cancel()
        if self._is_on_disk and not self._is_handed_over:
            self._threads.writer.finally_do(self._close)

    def _close(self) -> None:
        """In the writer."""
        if self._file is not None:
            self._file.close()


class Spool:
    """Where bodies go: `memory_bytes` each in memory, more into `directory`."""

    def __init__(self, memory_bytes: int, directory: Path) -> None:
        self._memory_bytes = memory_bytes
        self._directory = directory
        self._pairs = cycle([Pair(Thread(), Thread()) for _ in range(_PAIRS)])

    def begin(self) -> Spooling:
        """Room for one body."""
        return Spooling(self._memory_bytes, self._directory, next(self._pairs))


def _sha256(whole: bytes) -> str:
    return hashlib.sha256(whole).hexdigest()


def unlinked_file(directory: Path) -> IO[bytes]:
    """A 0600 file that has no name, so that nobody else opens it and nothing is left behind.

    With O_TMPFILE; where the file system has none, unlinked as soon as it is made.
    """
    return TemporaryFile(dir=directory)
