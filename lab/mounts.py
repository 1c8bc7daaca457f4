"""Mounts below the lab's folders: made, found again, undone, and never deleted through."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from lab.processes import LabError


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def mount_points(table: str | None = None) -> list[Path]:
    """Where something is mounted now, in the order of mounting (proc(5), mountinfo, field 5)."""
    text = Path("/proc/self/mountinfo").read_text() if table is None else table
    return [Path(_unescaped(line.split(" ")[4])) for line in text.splitlines()]


def mounts_below(folder: Path) -> list[Path]:
    """The mounts at or below a folder, the innermost and latest first."""
    real = folder.resolve()
    return [at for at in reversed(mount_points()) if at == real or real in at.parents]


def is_mounted(at: Path) -> bool:
    """Whether something is mounted right here."""
    return at.resolve() in mount_points()


def mount(*arguments: str) -> None:
    """Run mount(8); LabError with what it says."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"mount {' '.join(arguments)}: {done.stderr.strip()}")


def unmount_below(folder: Path) -> None:
    """Undo every mount at or below one of the lab's own folders; LabError when one is busy."""
    for at in mounts_below(folder):
        done = subprocess.run(["umount", str(at)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"umount {at}: {done.stderr.strip()}")


def remove_tree(folder: Path) -> None:
    """Delete a folder of the lab's; LabError and nothing deleted while anything is mounted below it."""
    if not folder.exists():
        return
    if left := mounts_below(folder):
        raise LabError(f"{left[0]} is still mounted; nothing below {folder} was deleted")
    shutil.rmtree(folder)
