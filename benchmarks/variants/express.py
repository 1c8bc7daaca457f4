"""A scene -> a Node.js gateway of express, http-proxy-middleware and jose, in production mode, one process."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.scene import Launch, Scene
from benchmarks.variants.fastapi import peer_environment
from lab import places
from lab.identity_provider.node import Node, find_node, install_locked
from lab.progress import Progress

PEERS = Path(__file__).parent.parent / "peers"
PROGRAM = "express_gateway.mjs"
SOURCES = ("package.json", "package-lock.json", PROGRAM)
OLDEST = 22
"""http-proxy-middleware 4 takes no older Node.js."""


@dataclass(frozen=True)
class Express:
    """The peer that an evening with npm gives."""

    name: ClassVar[str] = "express"
    verifies: ClassVar[bool] = True

    def launch(self, scene: Scene) -> Launch:
        """Install exactly what the lock file says, once for the checkout, and serve."""
        folder = places.state_root() / "bench-express"
        node = install(folder)
        environment = {**peer_environment(scene), "NODE_ENV": "production"}
        return Launch([str(node.node), str(folder / PROGRAM)], environment)


def versions() -> list[str]:
    """Return what the lock file says, and the Node.js that runs it."""
    package, lock = (json.loads((PEERS / name).read_text()) for name in SOURCES[:2])
    node = find_node(places.CHECKOUT, Progress("express"), OLDEST).node
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    locked = lock["packages"]
    return [
        f"node {done.stdout.strip().removeprefix('v')}",
        *(
            f"{name} {locked[f'node_modules/{name}']['version']}"
            for name in package["dependencies"]
        ),
    ]


def install(folder: Path) -> Node:
    """Have the program and its packages in a folder. LabError where npm cannot."""
    say = Progress("express")
    node = find_node(places.CHECKOUT, say, OLDEST)
    install_locked(PEERS, SOURCES, folder, node, say)
    return node
