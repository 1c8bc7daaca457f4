"""The file of a secret -> its value as it is now, or why it cannot be used. Fails closed.

Unlike the tables and lists of `edited_file`, a secret that has become unreadable, exposed or
broken serves no longer: somebody may be taking it away on purpose.
"""

import os
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from gateway.edges.few_threads import FewThreads
from gateway.edges.one_flight import OneFlight

T = TypeVar("T")
CHECK_SECONDS = 1.0
READ_SECONDS = 2.0
_UNSETTLED_SECONDS = 2.0


class SecretUnusable(Exception):
    """One sentence: which file, what is wrong with it, what to type. Never what is in it."""


class OpenedFile(NamedTuple):
    """The bytes of a regular file, and the status of that very file, not of a later one's."""

    path: Path
    content: bytes
    status: os.stat_result


Read = Callable[[OpenedFile], T]
"""Turns a file into a value. Raises ValueError with the words that follow the path."""
_Signature = tuple[int, ...]


class _Seen(NamedTuple, Generic[T]):
    """`signature` is None while the file is so young that a write could hide in its times."""

    signature: _Signature | None
    content: bytes
    value: T


class SecretFile(Generic[T]):
    """Looked at by whoever asks, at most once in CHECK_SECONDS, in a thread and within a time.

    The same content gives the same object again, so that `is` tells a change.
    """

    def __init__(
        self,
        path: Path,
        read: Read[T],
        threads: FewThreads,
        *,
        maximum_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
        limit_seconds: float = READ_SECONDS,
    ) -> None:
        self._path = path
        self._read = read
        self._threads = threads
        self._maximum_bytes = maximum_bytes
        self._monotonic = monotonic
        self._limit_seconds = limit_seconds
        self._flight: OneFlight[None, None] = OneFlight()
        self._seen: _Seen[T] | None = None
        self._next_check = float("-inf")
        self.problem = ""
        """What was wrong with the file when it was last looked at; empty if nothing was."""

    async def __call__(self) -> T:
        """The value of the file as it is. Raises SecretUnusable, for a once good file too."""
        if self._monotonic() >= self._next_check:
            await self._flight.join(None, self._check)
        if self.problem or self._seen is None:
            raise SecretUnusable(self.problem)
        return self._seen.value

    async def _check(self) -> None:
        look = partial(_look, self._path, self._maximum_bytes, self._read, self._seen)
        try:
            self._seen = await self._threads.run(self._limit_seconds, look)
            self.problem = ""
        except TimeoutError:
            self.problem = f"{self._path} cannot be read within {self._limit_seconds:g} s"
        except OSError as error:
            self.problem = f"{self._path} cannot be read: {error.strerror}{_remedy(error)}"
        except ValueError as error:
            self.problem = f"{self._path} {error}"
        self._next_check = self._monotonic() + CHECK_SECONDS


def _look(path: Path, maximum_bytes: int, read: Read[T], seen: _Seen[T] | None) -> _Seen[T]:
    if seen is not None and seen.signature == _signature(path.stat()):
        return seen
    opened = read_regular_file(path, maximum_bytes)
    value = read(opened)
    if seen is not None and seen.content == opened.content:
        value = seen.value
    is_young = time.time() - opened.status.st_mtime < _UNSETTLED_SECONDS
    return _Seen(None if is_young else _signature(opened.status), opened.content, value)


def _signature(status: os.stat_result) -> _Signature:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _remedy(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f" by the gateway's user, uid {os.geteuid()}"
    return ""


def read_regular_file(path: Path, maximum_bytes: int) -> OpenedFile:
    """Open first, look at what was opened, then read: nothing can be swapped in between.

    Links are followed, as mounted secrets are links. A FIFO does not hang the open.
    Raises OSError, or ValueError with the words that follow the path.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        content = file.read(maximum_bytes + 1)
    if len(content) > maximum_bytes:
        raise ValueError(f"is larger than {maximum_bytes} bytes")
    return OpenedFile(path, content, status)


def is_inside(path: Path, directory: Path | None) -> bool:
    """Whether the file, all links resolved, lies in the directory."""
    return directory is not None and path.resolve().is_relative_to(directory.resolve())
