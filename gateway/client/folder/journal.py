"""What was done with each job file, a synced line a step -> what is left to do after a kill at any moment."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from gateway.client.trouble import Exit, Trouble

_MODE = 0o600
_DRAFT = ".new"
_MOST_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Item:
    """One file that was taken. Times are seconds since 1970."""

    key: str
    """Its Idempotency-Key, and its name in the journal."""
    sent_as: str = ""
    """Its later Idempotency-Key, where the first one has an answer that says nothing of the job."""
    name: str = ""
    """What it was called when it was taken."""
    running: str = ""
    """What it is called while it runs."""
    sent_at: float = 0.0
    """Just before it was sent for the first time; 0 while it certainly was not."""
    whose: str = ""
    """Who sent it: a key means something to its owner alone."""
    job_id: int = 0
    place: str = ""
    """Where it belongs now that it is over: done/job.sh."""
    answer: Mapping[str, Any] = field(default_factory=dict)
    filed: bool = False
    """It is where it belongs, and nothing is left to do."""


_KNOWN = frozenset(one.name for one in fields(Item))


class Journal:
    """Lines of one file, each with what is new of one item. One process at a time writes them."""

    def __init__(self, path: Path, most_lines: int = _MOST_LINES) -> None:
        self._path = path
        self._most_lines = most_lines
        self._written = 0
        self._items: dict[str, Item] = {}
        """Those that are not filed."""

    def open_items(self) -> list[Item]:
        """Those that are not filed, in the order in which they were taken. Raises Trouble.

        The file is written anew with them alone, which also takes away what a kill or a full disk
        left of a last line.
        """
        for number, line in enumerate(self._lines(), 1):
            self._merge(self._parsed(line, number))
        self._begin_anew()
        return list(self._items.values())

    def note(self, key: str, **known: Any) -> Item:
        """What is known from now on. It is on disk when this returns. Raises Trouble."""
        line = _line({"key": key, **known})
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_LINKS
            descriptor = os.open(self._path, flags, _MODE)
            try:
                if os.write(descriptor, line) < len(line):
                    raise _unwritable(self._path, "No space left on device")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unwritable(self._path, error.strerror) from None
        item = self._merge({"key": key, **known})
        self._written += 1
        if self._written >= self._most_lines:
            self._begin_anew()
        return item

    def _begin_anew(self) -> None:
        """With what is open alone: a folder may be worked off for years."""
        write_synced(self._path, b"".join(map(_line, map(_facts, self._items.values()))))
        self._written = 0

    def _lines(self) -> Iterable[bytes]:
        """The last one is whole only with its end."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise Trouble(
                Exit.LOCAL_FILE, f"{self._path} cannot be read: {error.strerror}."
            ) from None
        return content.split(b"\n")[:-1]

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("key"), str):
            raise Trouble(
                Exit.LOCAL_FILE,
                f"{self._path}, line {number} is damaged.",
                "look into `running`, and ask `slurm-gateway history` which of its jobs there were;"
                " then remove the journal",
            )
        return {name: value for name, value in found.items() if name in _KNOWN}

    def _merge(self, known: Mapping[str, Any]) -> Item:
        key = known["key"]
        self._items[key] = item = replace(self._items.get(key, Item(key)), **known)
        if item.filed:
            del self._items[key]
        return item


def _facts(item: Item) -> dict[str, Any]:
    return {one.name: getattr(item, one.name) for one in fields(Item)}


def _line(known: Mapping[str, Any]) -> bytes:
    return json.dumps(known).encode() + b"\n"


def write_synced(path: Path, content: bytes) -> None:
    """Replace a file, on disk and whole or not at all. Raises Trouble.

    The draft has one name, because one process at a time writes here: a kill leaves one at most.
    """
    draft = path.with_name(f".{path.name}{_DRAFT}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _NO_LINKS, _MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error.strerror) from None


_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = getattr(os, "O_DIRECTORY", 0)


def sync_folder(folder: Path) -> None:
    """Have its names on disk, where a system has that. Raises OSError."""
    if not _FOLDER:
        return
    descriptor = os.open(folder, os.O_RDONLY | _FOLDER)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(path: Path, why: str | None) -> Trouble:
    return Trouble(
        Exit.LOCAL_FILE,
        f"{path} cannot be written: {why}.",
        "make room and start again: nothing is lost, and nothing is submitted twice",
    )
