"""Lines of the audit -> a 0600 file that the gateway alone writes, rotates, and notices changes of."""

import errno
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from gateway.audit.sinks import Turn
from gateway.edges.audit_commit import PATIENCE_SECONDS, GroupCommit
from gateway.edges.fallocate import set_room_apart
from gateway.model import Clock

_ROOM_STEP = 1 << 20
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_DAY_SECONDS = 86_400
_ROTATION_PAUSE_SECONDS = 1.0


class FileSink:
    """Appended to with write(2), whole lines a call. Renamed with its time, and begun anew, at
    `rotate_bytes` and, if `rotate_daily`, with the first line of a UTC day. `rotated` hears of each
    file that is complete.
    """

    may_lag = lags = False

    def __init__(
        self,
        path: Path,
        rotate_bytes: int,
        now: Clock,
        *,
        rotate_daily: bool = False,
        rotated: Callable[[Path], None] = lambda _: None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._rotate_daily = rotate_daily
        self._now = now
        self._rotated = rotated
        self._done: deque[tuple[int, Path | None]] = deque()
        self._commits = GroupCommit(self.commit, patience_seconds)
        self._directory_changed = True
        self._unsynced = False
        self._rotate_not_before = 0.0
        self._looked_after = 0
        self._found = ""
        self._is_closed = False
        self._descriptor = -1
        self.size = self.room_to = 0
        self._use(_open(path))

    def begin(self, problem: str = "") -> Turn | None:
        """Whoever wrote before may have made the file longer since it was opened, or have begun another."""
        if self._descriptor < 0 or not self._path.exists() or self._identity != self._there():
            self._retire(None)
            self._use(_open(self._path))
        self.size = self.room_to = os.fstat(self._descriptor).st_size
        return self._break(problem) if problem else None

    def _there(self) -> tuple[int, int]:
        return _identity_of(self._path.lstat())

    def write(self, lines: Sequence[bytes]) -> int:
        """Hand them to the kernel in one call. Raises OSError; a part of a line is taken back."""
        data, written = b"".join(lines), 0
        try:
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, data[written:])
        except OSError:
            whole, size = _whole_lines(lines, written)
            self.size += size
            if written > size:
                self._take_back()
            if not whole:
                raise
            return whole
        self.size += written
        return len(lines)

    def make_room(self, count: int) -> None:
        """Blocks of the file's own, in large steps as long as there is room for those."""
        if self.size + count <= self.room_to:
            return
        try:
            self._set_apart(count + _ROOM_STEP)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            self._set_apart(count)

    def _set_apart(self, count: int) -> None:
        set_room_apart(self._descriptor, self.size, count)
        self.room_to = self.size + count

    def look(self) -> Turn | None:
        """Begin a new file where this one was touched, or is full, or of yesterday."""
        change = self._change()
        if change:
            return self._break(change)
        is_due = self.size >= self._rotate_bytes or (
            self._rotate_daily and self._now() // _DAY_SECONDS > self._day
        )
        if not is_due or not self.size or time.monotonic() < self._rotate_not_before:
            return None
        try:
            return self._turn("rotate", {"cause": "size" if self._is_full else "day"})
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            # a full disk has no room for a new file, but the old one has what was set apart
            self._rotate_not_before = time.monotonic() + _ROTATION_PAUSE_SECONDS
            return None

    @property
    def _is_full(self) -> bool:
        return self.size >= self._rotate_bytes

    def rotate(self) -> Turn | None:
        """A new file, because somebody asks for it, who may have renamed the old one before."""
        return self._turn("rotate", {"cause": "signal"})

    def repair(self) -> Turn | None:
        """After a failure. A file whose bytes may be lost is not written to any more."""
        if self._commits.hangs:
            raise OSError(errno.ETIMEDOUT, "the disk does not answer")
        change = "its lines may not have reached the disk" if self._unsynced else self._change()
        return self._break(change) if change else None

    def _change(self) -> str:
        """What somebody has done to the file; empty if nothing."""
        if self._descriptor < 0:
            return "it was closed after a failure"
        try:
            there = self._path.lstat()
        except FileNotFoundError:
            return "it was removed or renamed"
        if (there.st_dev, there.st_ino) != self._identity:
            return "another file stands in its place"
        if there.st_size != self.size:
            return f"it has {there.st_size} bytes instead of {self.size}"
        return ""

    def _break(self, reason: str) -> Turn:
        turn = self._turn("break", {"reason": reason})
        self._unsynced = False
        return turn

    def _turn(self, event: str, facts: dict[str, object]) -> Turn:
        """Make the new file first, with room in it, so that there is always one to write to."""
        fresh = self._path.with_name(f".{self._path.name}.new")
        with suppress(FileNotFoundError):
            fresh.unlink()
        descriptor = _open(fresh)
        room = max(_ROOM_STEP, self.room_to - self.size)
        try:
            self._set_apart_in(descriptor, room)
            previous = self._put_aside()
            fresh.rename(self._path)
        except OSError:
            os.close(descriptor)
            raise
        self._retire(previous)
        self._use(descriptor)
        self.room_to = room
        facts = {**facts, "file": str(self._path), "previous": previous.name if previous else ""}
        return Turn(event, facts)

    def _set_apart_in(self, fresh: int, room: int) -> None:
        """A file that was removed holds its blocks until it is closed; nobody can read it any more."""
        try:
            set_room_apart(fresh, 0, room)
        except OSError:
            if self._descriptor < 0 or os.fstat(self._descriptor).st_nlink:
                raise
            os.ftruncate(self._descriptor, 0)
            set_room_apart(fresh, 0, room)

    def _put_aside(self) -> Path | None:
        """Rename whatever stands in the file's place; never over an older file."""
        moment = datetime.fromtimestamp(self._now(), UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        stem, suffix = self._path.stem, self._path.suffix
        aside = self._path.with_name(f"{stem}-{moment}{suffix}")
        number = 1
        while os.path.lexists(aside) or os.path.lexists(f"{aside}.gz"):
            number += 1  # two within a microsecond, or a clock set back
            aside = self._path.with_name(f"{stem}-{moment}.{number}{suffix}")
        try:
            self._path.rename(aside)
        except FileNotFoundError:
            return None
        return aside

    def _retire(self, path: Path | None) -> None:
        if self._descriptor < 0:
            return
        is_ours = path is not None and self._identity == _identity_of(path.lstat())
        self._done.append((self._descriptor, path if is_ours else None))

    def _use(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        self._descriptor = descriptor
        self._identity = _identity_of(status)
        self.size = self.room_to = status.st_size
        written = status.st_mtime if status.st_size else self._now()
        self._day = written // _DAY_SECONDS
        self._directory_changed = True

    async def settle(self, *, durable: bool) -> None:
        """One fdatasync(2), one look for all that wait. Raises OSError, too where the file is not in its place."""
        if not durable:
            return
        run = await self._commits.wait()
        if self._is_closed:
            return  # on disk, and nobody's any more: there is no place left to look at
        if run != self._looked_after:  # the others of its group go on within the same turn
            self._looked_after, self._found = run, self._change()
        if self._found:
            raise OSError(errno.ESTALE, "the file was changed by somebody else")

    def commit(self) -> None:
        """In the thread. What fails is remembered, also where all have given up waiting for it."""
        try:
            self._commit()
        except Exception:
            self._unsynced = True
            raise

    def _commit(self) -> None:
        """Complete files first, so that no line is on disk before an earlier one."""
        while self._done:
            self._finish(*self._done.popleft())
        descriptor = self._descriptor
        if descriptor < 0:
            raise OSError(errno.EBADF, "the file is closed")
        os.fdatasync(descriptor)
        if self._directory_changed:
            self._directory_changed = False
            _sync_directory(self._path.parent)

    def _finish(self, descriptor: int, path: Path | None) -> None:
        """The room that a complete file has beyond its end is given back."""
        try:
            if path is not None:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if path is not None:
            self._rotated(path)

    def close(self) -> None:
        """Bring the rest to disk, behind all that goes there already; nobody waits for it."""
        self._is_closed = True
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        self._done.append((descriptor, None))
        self._commits.close(self._end)

    def _end(self) -> None:
        with suppress(OSError):
            while self._done:
                self._finish(*self._done.popleft())

    def _take_back(self) -> None:
        """Cut off a line that was let in by half, so that every line stays whole."""
        self.room_to = self.size
        try:
            os.ftruncate(self._descriptor, self.size)
        except OSError:
            self._done.append((self._descriptor, None))
            self._descriptor = -1


def _open(path: Path) -> int:
    """Append to the file, which is made if need be. Raises OSError for what is no regular file."""
    descriptor = os.open(path, _FLAGS, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))  # noqa: TRY301 (closed below)
        os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _whole_lines(lines: Sequence[bytes], written: int) -> tuple[int, int]:
    """How many of them are in the first `written` bytes, and how many bytes those are."""
    count = size = 0
    for line in lines:
        if size + len(line) > written:
            break
        count, size = count + 1, size + len(line)
    return count, size


def _identity_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
