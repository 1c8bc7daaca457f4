"""A checkout -> the text of axe-core's script, which npm brings below .lab/ once, exactly as locked."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab import places
from lab.identity_provider.node import find_node, npm_ci
from lab.progress import Progress

HERE = Path(__file__).parent


def axe_script(checkout: Path = places.CHECKOUT) -> str:
    """Installed where it is missing or another one. LabError where npm cannot."""
    folder = places.state_root(checkout) / "accessibility"
    lock, say = (HERE / "package-lock.json").read_bytes(), Progress("accessibility")
    installed = folder / "node_modules/.installed-lock.json"
    with places.locked(folder / "lock", say, "another process that installs axe-core"):
        if not installed.exists() or installed.read_bytes() != lock:
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(HERE / name, folder / name)
            with say.step("installing axe-core"):
                npm_ci(folder, find_node(checkout, say))
            installed.write_bytes(lock)
    return (folder / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")
