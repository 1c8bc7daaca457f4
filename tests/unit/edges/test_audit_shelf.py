"""Complete audit files: compressed, kept as long as they shall be, and nothing else touched."""

import gzip
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.edges.audit_shelf import FileShelf, Removed
from tests.fakes import FakeClock

DAY = 86_400


def name(day: int, ending: str = "") -> str:
    return f"audit-202701{day:02d}T000000.000000Z.jsonl{ending}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three complete files of 1,000 bytes, a day apart, and the one that is written to."""
    clock = FakeClock()
    (tmp_path / "audit.jsonl").write_bytes(b"now\n")
    for day in (1, 2, 3):
        file = tmp_path / name(day)
        file.write_bytes(b"%d" % day * 999 + b"\n")
        moment = clock() - (3 - day) * DAY - 10
        os.utime(file, (moment, moment))
    return tmp_path


def shelf_of(folder: Path, told: list[Removed], **options: Any) -> FileShelf:
    settings = {"compress": False, "keep_days": None, "keep_bytes": None, **options}
    return FileShelf(folder / "audit.jsonl", tell=told.append, now=FakeClock(), **settings)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "audit.jsonl")


def test_complete_files_are_compressed_and_read_back_the_same(folder: Path) -> None:
    before = (folder / name(1)).stat()
    shelf_of(folder, [], compress=True).tidy()
    assert names(folder) == [name(1, ".gz"), name(2, ".gz"), name(3, ".gz")]
    assert (folder / "audit.jsonl").read_bytes() == b"now\n"
    after = (folder / name(1, ".gz")).stat()
    assert gzip.decompress((folder / name(1, ".gz")).read_bytes()) == b"1" * 999 + b"\n"
    assert (after.st_mode & 0o777, after.st_mtime) == (0o600, before.st_mtime)


@pytest.mark.parametrize("compress", [True, False])
def test_what_is_too_old_is_removed_and_told(folder: Path, compress: bool) -> None:
    told: list[Removed] = []
    shelf_of(folder, told, keep_days=1, compress=compress).tidy()
    kept = name(3, ".gz" if compress else "")
    assert names(folder) == [kept]
    assert [(one.file[:14], one.cause) for one in told] == [
        ("audit-20270101", "keep_days"),
        ("audit-20270102", "keep_days"),
    ]


@pytest.mark.parametrize(("keep_bytes", "left"), [(3000, 3), (2999, 2), (1500, 1), (1, 0)])
def test_the_oldest_go_where_all_together_are_too_large(
    folder: Path, keep_bytes: int, left: int
) -> None:
    told: list[Removed] = []
    shelf_of(folder, told, keep_bytes=keep_bytes).tidy()
    assert names(folder) == [name(day) for day in (1, 2, 3)][3 - left :]
    assert [one.cause for one in told] == ["keep_bytes"] * (3 - left)
    assert (folder / "audit.jsonl").exists()


def test_files_of_other_names_are_never_touched(folder: Path) -> None:
    strangers = ["audit-report.jsonl", "audit-2027.jsonl", "other-20270101T000000.000000Z.jsonl"]
    for stranger in strangers:
        (folder / stranger).write_text("mine")
    (folder / name(9)).symlink_to("/etc/passwd")
    shelf_of(folder, [], keep_bytes=1, keep_days=1, compress=True).tidy()
    assert names(folder) == sorted([*strangers, name(9)])


def test_a_crash_while_compressing_loses_nothing(folder: Path) -> None:
    """Half a file from before, or a whole one beside its original."""
    (folder / f".{name(1, '.gz')}.new").write_bytes(b"half")
    (folder / name(2, ".gz")).write_bytes(gzip.compress(b"2" * 999 + b"\n"))
    shelf_of(folder, [], compress=True).tidy()
    assert names(folder) == [name(1, ".gz"), name(2, ".gz"), name(3, ".gz")]
    assert gzip.decompress((folder / name(1, ".gz")).read_bytes()) == b"1" * 999 + b"\n"


def test_it_works_in_a_thread_and_goes_on_after_a_failure(folder: Path) -> None:
    removed = threading.Event()
    told: list[Removed] = []

    def tell(one: Removed) -> None:
        told.append(one)
        removed.set()

    shelf = FileShelf(
        folder / "audit.jsonl",
        compress=False,
        keep_days=None,
        keep_bytes=2500,
        tell=tell,
        now=FakeClock(),
    )
    hidden = folder.rename(folder.with_name("hidden"))
    shelf.put()
    hidden.rename(folder)
    shelf.put()
    assert removed.wait(60)
    shelf.close()
    assert told == [Removed(name(1), 1000, "keep_bytes")]
