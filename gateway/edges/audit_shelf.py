"""Audit files that are complete -> compressed ones, of which the oldest go when they are too many or too old."""

import gzip
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gateway.edges.audit_tail import PACKED, complete_files

_LEVEL = 6
_DAY_SECONDS = 86_400

_log = logging.getLogger(__name__)


class Removed(NamedTuple):
    """A file that was removed, and why."""

    file: str
    bytes: int
    cause: str


class FileShelf:
    """Sees to the complete files of one audit in a thread of its own.

    `tell` hears, in the thread, what was removed. A file is compressed beside itself, brought to disk and
    only then replaced, so that a crash leaves one whole file, or both.
    """

    def __init__(
        self,
        path: Path,
        *,
        compress: bool,
        keep_days: int | None,
        keep_bytes: int | None,
        tell: Callable[[Removed], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._compress = compress
        self._keep_days = keep_days
        self._keep_bytes = keep_bytes
        self._tell = tell
        self._now = now
        self._jobs: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def put(self, _: Path | None = None) -> None:
        """There is a complete file, or time has passed."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name="audit-shelf")
            self._thread.start()
        self._jobs.put(True)

    def close(self) -> None:
        """Begin nothing any more; what is half done is done again by the next start."""
        self._is_closed = True
        self._jobs.put(False)

    def _work(self) -> None:
        while self._jobs.get():
            try:
                self.tidy()
            except OSError as error:
                _log.warning("audit files of %s: %s", self._path, error)

    def tidy(self) -> None:
        """Compress what is complete, then remove what need not be kept. Raises OSError."""
        for file in complete_files(self._path):
            if self._is_closed:
                return
            if self._compress and file.suffix != PACKED:
                _pack(file)
        self._remove()

    def _remove(self) -> None:
        sizes = {file: file.stat() for file in complete_files(self._path)}
        total = sum(status.st_size for status in sizes.values())
        for file, status in sizes.items():
            is_old = (
                self._keep_days is not None
                and self._now() - status.st_mtime > self._keep_days * _DAY_SECONDS
            )
            is_much = self._keep_bytes is not None and total > self._keep_bytes
            if not (is_old or is_much):
                continue
            file.unlink()
            total -= status.st_size
            cause = "keep_days" if is_old else "keep_bytes"
            self._tell(Removed(file.name, status.st_size, cause))


def _pack(file: Path) -> None:
    """The time of its last line stays, because that is what keep_days counts from."""
    packed = file.with_name(file.name + PACKED)
    half = file.with_name(f".{packed.name}.new")
    status = file.stat()
    descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with file.open("rb") as lines, gzip.GzipFile("", "wb", _LEVEL, raw, 0) as packing:
                shutil.copyfileobj(lines, packing, 1 << 18)
            raw.flush()
            os.fsync(raw.fileno())
        os.utime(half, ns=(status.st_atime_ns, status.st_mtime_ns))
        half.rename(packed)
    except OSError:
        with suppress(OSError):
            half.unlink()
        raise
    file.unlink()
