"""One and two processes, with and without a store -> requests a second, processor time, and the store's load.

`python -m benchmarks.scale` runs them in turns before the stub and prints a table; medians of the rounds.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import click
from redis import Redis

from benchmarks.identity import CALLERS, Provider, make_provider
from benchmarks.lineup import ordinary_user
from benchmarks.load import run_load
from benchmarks.processes import ProcessTree, running
from benchmarks.scene import Backend, Endpoint, Scene
from benchmarks.stub import DIAG_TARGET, stub
from benchmarks.variants.gateway import write_configuration
from lab.ports import free_port
from lab.store import StoreServer

CONNECTIONS = 64
"""For each process, so that each is as busy as one alone."""


class Way(NamedTuple):
    """How the gateway is run."""

    name: str
    workers: int
    has_store: bool


WAYS = (
    Way("1 process", 1, has_store=False),
    Way("1 process, store", 1, has_store=True),
    Way("2 workers, store", 2, has_store=True),
)


class Figures(NamedTuple):
    """Of one round. Microseconds are processor time a request, of all processes named."""

    per_second: float
    p50_ms: float
    p99_ms: float
    gateway_us: float
    store_us: float
    store_commands: float
    errors: float


@dataclass(frozen=True)
class Subject:
    """One gateway that runs."""

    way: Way
    endpoint: Endpoint
    tree: ProcessTree


class Watched:
    """The store, and what it has done so far."""

    def __init__(self, server: StoreServer) -> None:
        password = server.password_file.read_text().strip()
        self._client = Redis(unix_socket_path=str(server.socket), password=password)
        pid = server.process.pid()
        self._tree = ProcessTree(pid or 0)

    def cpu_seconds(self) -> float:
        """User and system time."""
        return self._tree.cpu_seconds()

    def commands(self) -> int:
        """Calls by clients; what a script calls inside the server is not one."""
        told: Mapping[str, Mapping[str, int]] = self._client.info("commandstats")
        return told.get("cmdstat_evalsha", {}).get("calls", 0)


@contextmanager
def gateway(
    way: Way, folder: Path, backend: Backend, provider: Provider, store: StoreServer
) -> Iterator[Subject]:
    """Serve as the benchmark's gateway does, with what this way adds."""
    folder.mkdir()
    shared = store if way.has_store else None
    scene = Scene(
        folder, backend, provider, free_port(), tls=False, processes=way.workers, store=shared
    )
    command = [
        *(sys.executable, "-m", "gateway.cli", "serve"),
        *("--config", write_configuration(scene)),
    ]
    headers = [
        {"Authorization": f"Bearer {provider.token(ordinary_user(), caller)}"}
        for caller in range(CALLERS)
    ]
    with running(command, scene.port, folder / "gateway.log") as tree:
        endpoint = Endpoint(scene.port, tls=False, headers=headers[0], other_callers=headers[1:])
        yield Subject(way, endpoint, tree)


def measure(subject: Subject, store: Watched, seconds: float) -> Figures:
    """One round."""
    connections = CONNECTIONS * subject.way.workers
    before = (subject.tree.cpu_seconds(), store.cpu_seconds(), store.commands())
    load = run_load(subject.endpoint, DIAG_TARGET, connections, seconds, CALLERS)
    after = (subject.tree.cpu_seconds(), store.cpu_seconds(), store.commands())
    spent = [now - then for now, then in zip(after, before, strict=True)]
    count = max(1, load.requests)
    return Figures(
        load.requests_per_second,
        load.p50_ms,
        load.p99_ms,
        1e6 * spent[0] / count,
        1e6 * spent[1] / count,
        spent[2] / count,
        float(load.errors),
    )


def show(way: Way, rounds: Sequence[Figures]) -> str:
    """A line of the table."""
    middle = [statistics.median(values) for values in zip(*rounds, strict=True)]
    return (
        f"| {way.name} | {middle[0]:.0f} | {middle[1]:.1f} / {middle[2]:.1f} |"
        f" {middle[3]:.0f} | {middle[4]:.1f} | {middle[5]:.2f} | {middle[6]:.0f} |"
    )


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="Of load, each way, each round.")
def main(rounds: int, seconds: float) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        server = StoreServer(folder)
        server.start()
        stack.callback(server.stop)
        provider = make_provider(folder)
        (folder / "stub").mkdir()
        backend = stack.enter_context(stub(folder / "stub", ordinary_user()))
        subjects = [
            stack.enter_context(gateway(way, folder / f"g{number}", backend, provider, server))
            for number, way in enumerate(WAYS)
        ]
        watched = Watched(server)
        results: dict[Way, list[Figures]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for subject in subjects:
                results[subject.way].append(measure(subject, watched, seconds))
        click.echo("| | a second | p50 / p99 ms | gateway µs | store µs | store calls | errors |")
        click.echo("|---|---|---|---|---|---|---|")
        for way in WAYS:
            click.echo(show(way, results[way]))


if __name__ == "__main__":
    main()
