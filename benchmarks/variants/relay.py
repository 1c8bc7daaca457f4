"""A scene -> two callbacks on uvloop with nothing between: the floor under every gateway in Python."""

import sys
from dataclasses import dataclass
from typing import ClassVar

from benchmarks.scene import Launch, Scene
from benchmarks.variants.fastapi import peer_environment


@dataclass(frozen=True)
class Relay:
    """No gateway: it looks at nothing but where the token stands."""

    name: ClassVar[str] = "relay"
    verifies: ClassVar[bool] = False

    def launch(self, scene: Scene) -> Launch:
        """One process."""
        command = [sys.executable, "-m", "benchmarks.peers.relay"]
        environment = {**peer_environment(scene), "SLURM_USER": scene.backend.slurm_user}
        return Launch(command, environment)
