"""A scene -> no proxy at all: the client speaks to slurmrestd with a Slurm token of its own."""

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.scene import Scene


@dataclass(frozen=True)
class Direct:
    """The backend itself."""

    name: ClassVar[str] = "direct"
    verifies: ClassVar[bool] = False

    def launch(self, scene: Scene) -> None:
        """Start nothing."""
        del scene
