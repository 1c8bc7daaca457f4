"""A file that an admin edits -> its parsed content, re-read when it changes.

A broken, missing or half-written new version changes nothing but `error`: the last good content
stays. A version counts once it has been left alone for a second, so that a file which is written in
place is never taken while it is empty or cut short.
"""

import asyncio
import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from gateway.model import Clock

LOOK_SECONDS = 1.0
"""Between two looks of `keep_fresh`."""
_SETTLED_SECONDS = 1.0
_UNWATCHED_SECONDS = 2.0
"""Reading the content looks by itself where nobody has looked for so long."""

_log = logging.getLogger(__name__)

T = TypeVar("T")
_Version = tuple[int, int, int, int, int]


class FileUnusable(Exception):
    """The file cannot be read or parsed; the message names it and says why."""


class EditedFile(Generic[T]):
    """`parse` raises ValueError with a message for the admin. `now` is the time of day.

    Raises FileUnusable where the first version cannot be had.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], T],
        maximum_bytes: int,
        now: Clock = time.time,
    ) -> None:
        self._path = path
        self._parse = parse
        self._maximum_bytes = maximum_bytes
        self._now = now
        self.error = ""
        """Why the newest version is not in use; empty where it is."""
        self._seen: _Version | None = None
        self._verdict = ""
        self._content = self._read()
        self._looked_at = now()

    @property
    def content(self) -> T:
        """The last good content."""
        if not 0 <= self._now() - self._looked_at < _UNWATCHED_SECONDS:
            self.look()
        return self._content

    def look(self) -> None:
        """Re-read the file if it has changed."""
        self._looked_at = self._now()
        try:
            if not self._is_new():
                self.error = self._verdict
                return
            self._content = self._read()
        except FileUnusable as unusable:
            if str(unusable) != self.error:
                _log.error("%s; the last good version stays in use", unusable)
            self.error = str(unusable)
        else:
            self.error = ""
            _log.info("%s: re-read", self._path)

    async def keep_fresh(self) -> None:
        """Look every second for ever, in a thread; run it as a task."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def _is_new(self) -> bool:
        """Whether there is a version that was not looked into yet and is complete."""
        try:
            status = self._path.stat()
        except OSError as error:
            raise self._unreadable(error) from None
        is_seen = _version_of(status) == self._seen
        return not is_seen and not 0 <= self._now() - status.st_mtime < _SETTLED_SECONDS

    def _read(self) -> T:
        try:
            self._seen, raw = self._read_bytes()
        except OSError as error:
            raise self._unreadable(error) from None
        try:
            content = self._parse_bounded(raw)
        except ValueError as error:
            self._verdict = f"{self._path}: {error}"
            raise FileUnusable(self._verdict) from None
        self._verdict = ""
        return content

    def _parse_bounded(self, raw: bytes) -> T:
        if len(raw) > self._maximum_bytes:
            raise ValueError(f"longer than {self._maximum_bytes} bytes")
        return self._parse(raw)

    def _read_bytes(self) -> tuple[_Version, bytes]:
        # non-blocking, so that a pipe in its place cannot hang the gateway
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FileUnusable(f"{self._path}: not a regular file")
            return _version_of(status), file.read(self._maximum_bytes + 1)

    def _unreadable(self, error: OSError) -> FileUnusable:
        return FileUnusable(f"{self._path}: {error.strerror or type(error).__name__}")


def _version_of(status: os.stat_result) -> _Version:
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
