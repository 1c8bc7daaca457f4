"""Paths -> readable files of the audit, in the order of their lines, whatever order they were given in."""

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from gateway.audit_log.lines import claim_of, split_glued, time_of

_BLOCK_BYTES = 1 << 20
_BLOCK_LINES = 2000
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"
_COMPRESSED = (".gz", ".zst")


class Unreadable(Exception):
    """A file that cannot be read, or not to its end."""

    def __init__(self, path: Path, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.path = path
        self.why = why
        self.line = line
        """The last line that could be read."""


class AuditFile(NamedTuple):
    """A file, and what its first line says it is; `twin` is its compressed copy."""

    path: Path
    chain: str = ""
    seq: int = 0
    time: str = ""
    twin: Path | None = None

    def size(self) -> int:
        """Bytes on the disk; 0 where that cannot be told."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0


class Blocks:
    """One file, some lines at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.consumed = 0
        """Bytes of the file on the disk that were read so far."""

    def __iter__(self) -> Iterator[list[bytes]]:
        """Lists of lines. Raises Unreadable, after whatever could be read."""
        count = 0
        try:
            with self.path.open("rb") as raw, _decompressed(self.path, raw) as file:
                for lines in _blocks(file, careful=file is not raw):
                    count += len(lines)
                    self.consumed = raw.tell()
                    yield lines
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise Unreadable(
                self.path, f"damaged or unfinished compression ({error})", count
            ) from error
        except OSError as error:
            raise Unreadable(self.path, error.strerror or str(error), count) from error


def _blocks(file: IO[bytes], *, careful: bool) -> Iterator[list[bytes]]:
    """Some lines at a time. `careful`: those before a damage are given out first, at some cost."""
    if not careful:
        yield from iter(lambda: file.readlines(_BLOCK_BYTES), [])
        return
    lines: list[bytes] = []
    try:
        for line in file:
            lines.append(line)
            if len(lines) == _BLOCK_LINES:
                yield lines
                lines = []
    except (EOFError, gzip.BadGzipFile, zlib.error):
        yield lines
        raise
    yield lines


def _decompressed(path: Path, raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(4)
    raw.seek(0)
    if magic == _ZSTD_MAGIC:
        raise Unreadable(path, "zstd is not read here; decompress it with `unzstd` first")
    if magic.startswith(_GZIP_MAGIC):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw, mode="rb"))
    return raw


def look_into(paths: Iterable[Path]) -> tuple[list[AuditFile], list[Unreadable]]:
    """What each file begins with. A file given twice counts once, and so does a compressed copy."""
    files: list[AuditFile] = []
    unreadable: list[Unreadable] = []
    for path, twin in _without_twins(paths):
        try:
            files.append(_identified(path, twin))
        except Unreadable as error:
            unreadable.append(error)
    return files, unreadable


def _without_twins(paths: Iterable[Path]) -> Iterator[tuple[Path, Path | None]]:
    """`x.jsonl` with its `x.jsonl.gz` beside it is one file while the compression goes on."""
    given = {os.path.realpath(path): path for path in paths}
    plain = {real for real in given if not real.endswith(_COMPRESSED)}
    twins = {real: real.rpartition(".")[0] for real in given.keys() - plain}
    copies = {original: given[real] for real, original in twins.items() if original in plain}
    for real, path in given.items():
        if twins.get(real) not in plain:
            yield path, copies.get(real)


def _identified(path: Path, twin: Path | None) -> AuditFile:
    """A file without chains (of an older gateway) has at least its time."""
    time = ""
    for text in _first_lines(path):
        glued = split_glued(text)
        begin = glued[1].text if glued else text
        time = time or time_of(begin)
        if claim := claim_of(begin):
            return AuditFile(path, *claim, time_of(begin), twin)
    return AuditFile(path, time=time, twin=twin)


def _first_lines(path: Path) -> list[bytes]:
    return next(iter(Blocks(path)), [])


def in_order(files: Iterable[AuditFile]) -> list[AuditFile]:
    """By number within each chain; chains by the time of their first line given.

    A file may hold the end of one chain and the beginning of the next; the time decides then. Files that
    begin with nothing readable come last.
    """
    chains: dict[str, list[AuditFile]] = {}
    for file in files:
        chains.setdefault(file.chain, []).append(file)
    groups = [
        sorted(group, key=lambda file: (file.seq, "" if file.chain else file.time, str(file.path)))
        for group in chains.values()
    ]
    groups.sort(key=lambda group: (not group[0].chain, group[0].time))
    return [file for group in groups for file in group]
