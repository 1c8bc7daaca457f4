"""A folder, looked at again and again -> the job files in it that are whole, the oldest first."""

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from gateway.client.trouble import Exit, Trouble

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]  # there is none

_UNFINISHED = (".part", ".partial", ".filepart", ".crdownload", ".tmp", ".swp", ".new", "~")
"""What copying programs and editors call a file that they have not finished."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What lies in the folder: files to take, how many have to wait, and what is none, with why."""

    whole: list[str] = field(default_factory=list)
    waiting: int = 0
    odd: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Mark:
    inode: int
    size: int
    changed: int


class Incoming:
    """A file is whole once it has kept its size and time for a while and nobody here writes to it."""

    def __init__(
        self,
        folder: Path,
        settle_seconds: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._settle_seconds = settle_seconds
        self._now = now
        self._known: dict[str, tuple[_Mark, float]] = {}

    def look(self, most: int = 1000) -> Seen:
        """Once more, for so many files at most. Raises Trouble where the folder cannot be read."""
        odd: dict[str, str] = {}
        known: dict[str, tuple[_Mark, float]] = {}
        now = self._now()
        for name, found in self._entries():
            if why := _no_file(found):
                odd[name] = why
                continue
            mark = _Mark(found.st_ino, found.st_size, found.st_mtime_ns)
            before = self._known.get(name)
            since = before[1] if before is not None and before[0] == mark else now
            known[name] = mark, since
        self._known = known
        still = [name for name, (_, since) in known.items() if now - since >= self._settle_seconds]
        still.sort(key=lambda name: (known[name][0].changed, name))
        whole = list(islice(filter(self._is_let_go, still), max(0, most)))
        return Seen(whole, len(known) - len(whole), odd)

    def _is_let_go(self, name: str) -> bool:
        return not has_writer(self._folder / name)

    def _entries(self) -> Iterator[tuple[str, os.stat_result]]:
        """What has a name of a finished file; folders are for whatever else people keep here."""
        try:
            with os.scandir(self._folder) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError as error:
            raise Trouble(
                Exit.LOCAL_FILE, f"{self._folder} cannot be read: {error.strerror}."
            ) from None
        for name in names:
            if name.startswith(".") or name.lower().endswith(_UNFINISHED):
                continue
            try:
                found = os.lstat(self._folder / name)
            except OSError:
                continue  # it is gone again
            if not stat.S_ISDIR(found.st_mode):
                yield name, found


def _no_file(found: os.stat_result) -> str:
    """Why it is no job file; empty where it is one."""
    if stat.S_ISLNK(found.st_mode):
        return "it is a symbolic link; put the file itself here"
    return "" if stat.S_ISREG(found.st_mode) else "it is no file"


def has_writer(path: Path) -> bool:
    """Whether a process of this machine has it open for writing, as far as Linux tells (fcntl(2), leases).

    False where nobody can tell: other systems, network file systems, files of somebody else.
    """
    if fcntl is None or not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        # a writer that comes in between is announced by SIGIO, which would end the process
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
