"""A folder that people drop job files into -> its places, and files that move between them without meeting."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.client.folder.journal import sync_folder
from gateway.client.submit.script import MAXIMUM_BYTES
from gateway.client.trouble import Exit, Trouble, printable

RUNNING, DONE, FAILED = "running", "done", "failed"
_OWN = ".slurm-gateway"
_ANSWER = ".answer.json"
_MOST_NAME_BYTES = 220
"""With what is put behind a name, file systems take 255."""
_FOLDER_MODE = 0o700
_FREE_TRIES = 100_000


class Places:
    """The folder, its three places, and what the client keeps for itself there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own = folder / _OWN
        self.journal = self.own / "journal"

    def prepare(self) -> None:
        """Make what is missing. Raises Trouble."""
        try:
            mode = self.folder.stat().st_mode
        except OSError as error:
            raise Trouble(
                Exit.NO_INPUT,
                f"{printable(self.folder)} cannot be read: {error.strerror}.",
                "name a folder",
            ) from None
        if not stat.S_ISDIR(mode):
            raise Trouble(Exit.NO_INPUT, f"{printable(self.folder)} is no folder.", "name a folder")
        self._check_writers(self.folder)
        for name in (RUNNING, DONE, FAILED, _OWN):
            self._make(self.folder / name, _FOLDER_MODE if name == _OWN else 0o775)

    def _check_writers(self, folder: Path) -> None:
        if os.name == "posix" and folder.stat().st_mode & stat.S_IWOTH:
            raise Trouble(
                Exit.WRONG_CALL,
                f"Everybody may write to {printable(folder)}, and would run jobs as you.",
                f"take that away: chmod o-w {printable(folder)}",
            )

    def _make(self, folder: Path, mode: int) -> None:
        """A link would lead elsewhere, maybe to another file system."""
        try:
            folder.mkdir(mode=mode, exist_ok=True)
            if folder.is_symlink():
                raise Trouble(
                    Exit.LOCAL_FILE, f"{printable(folder)} is a symbolic link.", "take it away"
                )
            self._check_writers(folder)
        except OSError as error:
            raise Trouble(
                Exit.LOCAL_FILE, f"{printable(folder)} cannot be made: {error.strerror}."
            ) from None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The only one who works here. Raises Trouble where somebody else does."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.own / "lock", timeout=0, mode=0o600):
                yield
        except Timeout:
            raise Trouble(
                Exit.LOCAL_FILE,
                f"Another run-folder works in {printable(self.folder)}.",
                "end it, or name another folder",
            ) from None

    def request(self, key: str) -> Path:
        """Where what is sent for an item is kept."""
        return self.own / f"{key}.json"

    def answer(self, place: str) -> Path:
        """The answer beside a file: done/job.sh.answer.json."""
        return self.folder / f"{place}{_ANSWER}"

    def free(self, name: str, *places: str) -> str:
        """This name, or the next like it that is free in these places with its answer: job-2.sh."""
        short = _cut(name)
        stem, dot, suffix = short.rpartition(".")
        if not stem:
            stem, dot, suffix = short, "", ""
        for number in range(1, _FREE_TRIES):
            tried = short if number == 1 else f"{stem}-{number}{dot}{suffix}"
            if not any(self._is_taken(f"{place}/{tried}") for place in places):
                return tried
        raise Trouble(Exit.LOCAL_FILE, f"There is no free name for {printable(name)}.")

    def _is_taken(self, place: str) -> bool:
        return os.path.lexists(self.folder / place) or os.path.lexists(self.answer(place))

    def holds(self, place: str) -> bool:
        """Whether there is something of this name."""
        return os.path.lexists(self.folder / place)

    def move(self, place: str, to: str) -> None:
        """On disk when this returns. Raises Trouble."""
        source, target = self.folder / place, self.folder / to
        try:
            source.rename(target)
            sync_folder(target.parent)
            sync_folder(source.parent)
        except OSError as error:
            raise Trouble(
                Exit.LOCAL_FILE,
                f"{printable(source)} cannot be moved to {printable(target)}: {error.strerror}.",
                "the file stays where it is; start again when it can be moved",
            ) from None

    def read(self, place: str) -> bytes:
        """A file's bytes, one more than there may be. Raises Trouble."""
        path = self.folder / place
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            with os.fdopen(os.open(path, flags), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise Trouble(Exit.UNFIT_DATA, "It is no file.")
                return file.read(MAXIMUM_BYTES + 1)
        except OSError as error:
            raise Trouble(Exit.UNFIT_DATA, f"It cannot be read: {error.strerror}.") from None


def _cut(name: str) -> str:
    """A name that has room for more behind it; what it ends with stays."""
    whole = os.fsencode(name)
    if len(whole) <= _MOST_NAME_BYTES:
        return name
    stem, dot, suffix = name.rpartition(".")
    ending = os.fsencode(f"{dot}{suffix}") if stem and len(os.fsencode(suffix)) < 20 else b""  # noqa: PLR2004 (an ending)
    return os.fsdecode(whole[: _MOST_NAME_BYTES - len(ending)] + ending)
