"""Load on the gateway -> the functions of the serving process that its time goes to."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import click

from benchmarks.cells import CELLS, SLURM, Cell
from benchmarks.identity import make_provider
from benchmarks.lineup import backend_of, lineup
from benchmarks.measure import Effort
from benchmarks.rounds import run_rounds
from benchmarks.scene import Launch, Scene
from benchmarks.variants.gateway import write_configuration

STUB_CELLS = [cell for cell in CELLS if cell.name == "slurm-16-submits" or cell.group != SLURM]


@dataclass(frozen=True)
class ProfiledGateway:
    """The gateway of the benchmarks, with a profiler around it."""

    name: ClassVar[str] = "gateway"
    verifies: ClassVar[bool] = True
    mode: str
    output: Path

    def launch(self, scene: Scene) -> Launch:
        """Serve the same configuration as the gateway variant."""
        module = [sys.executable, "-m", "benchmarks.profiled_server", self.mode, str(self.output)]
        return Launch([*module, "serve", "--config", write_configuration(scene)])


@click.command()
@click.option("--calls", is_flag=True, help="Count every call (cProfile) instead of sampling.")
@click.option(
    "--cell",
    "cell_name",
    type=click.Choice([cell.name for cell in STUB_CELLS]),
    default="stub-64",
    show_default=True,
)
@click.option("--seconds", type=click.IntRange(min=1), default=5, show_default=True)
def main(*, calls: bool, cell_name: str, seconds: int) -> None:
    """Print where the gateway's own time goes under the load of one cell."""
    cell = next(cell for cell in STUB_CELLS if cell.name == cell_name)
    folder = Path(tempfile.mkdtemp(prefix="bench-profile-"))
    try:
        click.echo(_profile(cell, "calls" if calls else "samples", seconds, folder))
    finally:
        shutil.rmtree(folder)


def _profile(cell: Cell, mode: str, seconds: int, folder: Path) -> str:
    output = folder / "profile.txt"
    gateway: Sequence[ProfiledGateway] = [ProfiledGateway(mode, output)]
    with (
        backend_of(cell.group.upstream, folder) as backend,
        lineup(cell.group, backend, gateway, make_provider(folder), folder) as running,
    ):
        run_rounds(cell, running, 1, Effort(seconds, 1000, 10, submissions=200 * seconds))
    return output.read_text()


if __name__ == "__main__":
    main()
