"""checkout -> where the lab keeps its state, and short paths to it that every daemon may follow."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.progress import Progress

CHECKOUT = Path(__file__).resolve().parent.parent
RUNTIME = Path("/run/slurm-gateway-lab")
LONGEST_STATE_PATH = 60
"""A socket's path has at most 107 bytes (unix(7)); munged and slurmrestd append up to 40 to the state's."""


def state_root(checkout: Path = CHECKOUT) -> Path:
    """The one folder below the checkout that holds all state of the lab."""
    return checkout / ".lab"


def runtime_root(checkout: Path = CHECKOUT) -> Path:
    """A short folder for mounts and links that belongs to this checkout alone."""
    return RUNTIME / hashlib.sha256(str(checkout).encode()).hexdigest()[:8]


def _walkable(folder: Path) -> bool:
    mode = folder.stat()
    loose = mode.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not mode.st_mode & stat.S_ISVTX
    return bool(mode.st_mode & stat.S_IXOTH) and mode.st_uid == 0 and not loose


def is_reachable(folder: Path) -> bool:
    """Whether every daemon may use this path as it is.

    munged refuses sockets and keys below a folder that others may write or that an ordinary user owns, and
    slurmd runs job scripts as the job's user, who has to get to them.
    """
    real = folder.resolve()
    made = [path for path in (real, *real.parents) if path.exists()]
    return len(str(real)) <= LONGEST_STATE_PATH and all(map(_walkable, made))


@contextmanager
def locked(
    path: Path, progress: Progress, waiting_for: str, *, shared: bool = False
) -> Iterator[None]:
    """Hold a lock file, exclusively unless shared, and say so when another process has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with path.open("a") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step(f"waiting for {waiting_for}"):
                fcntl.flock(file, kind)
        yield


def is_locked(path: Path) -> bool:
    """Whether any process holds this lock file, shared or not."""
    if not path.exists():
        return False
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def write_private(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that nobody else can read at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
