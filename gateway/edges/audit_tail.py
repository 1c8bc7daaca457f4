"""An audit file and those put aside before it -> their lines, the newest first."""

import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path

PACKED = ".gz"
_BLOCK_BYTES = 1 << 16


def cut_torn_end(path: Path) -> bytes:
    """Take away what stands behind the last whole line, which a power cut may leave; returns it."""
    try:
        with path.open("r+b") as file:
            size = end = file.seek(0, os.SEEK_END)
            torn = b""
            while end:
                begin = max(0, end - _BLOCK_BYTES)
                file.seek(begin)
                head, newline, tail = file.read(end - begin).rpartition(b"\n")
                torn = tail + torn if newline else (head + tail) + torn
                if newline:
                    break
                end = begin
            if torn:
                file.truncate(size - len(torn))
                os.fsync(file.fileno())
            return torn
    except FileNotFoundError:
        return b""


def complete_files(path: Path) -> list[Path]:
    """What the gateway has put aside of this file, the oldest first. Nothing else is ever touched."""
    if not path.parent.is_dir():
        return []
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    name = re.compile(rf"{stem}-\d{{8}}T\d{{6}}\.\d{{6}}Z(\.\d+)?{suffix}(\.gz)?")
    found = [
        file
        for file in path.parent.iterdir()
        if name.fullmatch(file.name) and file.is_file() and not file.is_symlink()
    ]
    return sorted(found, key=lambda file: file.name)


def newest_first(path: Path) -> Iterator[bytes]:
    """All lines, with their ends, through all files that belong together. Raises OSError."""
    if path.exists():
        yield from _backwards(path)
    for file in reversed(complete_files(path)):
        if file.suffix != PACKED:
            yield from _backwards(file)
        elif not file.with_suffix("").exists():  # or it is being compressed just now
            with gzip.open(file) as packed:
                yield from reversed(packed.readlines())


def _backwards(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        begin = file.seek(0, os.SEEK_END)
        rest = b""
        while begin:
            size = min(_BLOCK_BYTES, begin)
            begin -= size
            file.seek(begin)
            first, *lines = (file.read(size) + rest).splitlines(keepends=True)
            yield from reversed(lines)
            rest = first
        if rest:
            yield rest
