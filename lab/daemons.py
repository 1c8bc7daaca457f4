"""(layout, ports) -> the six daemons of one cluster: how each is started, and how one knows that it answers."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.layout import Layout
from lab.processes import Recorded

READY_SECONDS = 120.0


def answers_on_port(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def succeeds(command: Sequence[str]) -> bool:
    """Whether a command ends with 0."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Daemon:
    """One daemon, kept in the foreground, so that its number is known without asking it."""

    layout: Layout
    name: str
    arguments: tuple[str, ...]
    user: str
    answers: Callable[[], bool]
    stale: tuple[str, ...] = field(default=())
    """Files that an earlier run may have left and that keep the daemon from starting."""

    def with_environment(self, more: Mapping[str, str]) -> Daemon:
        """The same with more in its environment, as an admin writes it into its unit."""
        if not more:
            return self
        settings = [f"{name}={value}" for name, value in more.items()]
        return replace(self, arguments=("/usr/bin/env", *settings, *self.arguments))

    @property
    def process(self) -> Recorded:
        """The record of the running process."""
        return Recorded(self.layout.folder / "run" / self.name, self.name)

    @property
    def log(self) -> Path:
        """What the daemon printed; Slurm's daemons write a log file of their own beside it."""
        return self.layout.outside / "log" / f"{self.name}.out"

    def is_running(self) -> bool:
        """Whether the recorded process is still there."""
        return self.process.pid() is not None

    def start(self) -> bool:
        """Start the daemon and wait until it answers. False: it ran already."""
        if self.is_running():
            return False
        for name in self.stale:
            (self.layout.outside / name).unlink(missing_ok=True)
        self.process.start(self.layout.command(self.arguments, self.user), self.log)
        self.process.await_answer(self.answers, READY_SECONDS, self.log)
        return True


def daemons(layout: Layout, ports: Mapping[str, int]) -> dict[str, Daemon]:
    """The daemons in the order in which they need each other."""
    made = (
        _munged(layout),
        _mariadbd(layout, ports),
        _slurm_daemon(layout, "slurmdbd", "slurm", ports),
        _slurm_daemon(layout, "slurmctld", "slurm", ports),
        _slurm_daemon(layout, "slurmd", "root", ports),
        _slurmrestd(layout, ports),
    )
    return {daemon.name: daemon for daemon in made}


def _munged(layout: Layout) -> Daemon:
    at = layout.inside / "munge"
    arguments = (
        "/usr/sbin/munged",
        "--foreground",
        f"--key-file={at}/munge.key",
        f"--socket={at}/munge.socket",
        f"--pid-file={at}/munged.pid",
        f"--log-file={at}/munged.log",
        f"--seed-file={at}/munged.seed",
    )
    stale = ("munge/munge.socket", "munge/munge.socket.lock")
    encode = layout.command(["munge", "-S", f"{at}/munge.socket", "-n"])
    return Daemon(layout, "munged", arguments, "munge", lambda: succeeds(encode), stale)


def _mariadbd(layout: Layout, ports: Mapping[str, int]) -> Daemon:
    at = layout.inside / "db"
    arguments = (
        "/usr/sbin/mariadbd",
        "--no-defaults",
        f"--datadir={at}",
        f"--socket={at}/mariadb.socket",
        f"--pid-file={at}/mariadbd.pid",
        "--bind-address=127.0.0.1",
        f"--port={ports['mariadbd']}",
        "--skip-name-resolve",
        "--innodb-buffer-pool-size=128M",
        "--innodb-lock-wait-timeout=900",
        "--innodb-flush-log-at-trx-commit=2",
    )
    port = ports["mariadbd"]
    return Daemon(layout, "mariadbd", arguments, "mysql", lambda: answers_on_port(port))


def _slurm_daemon(layout: Layout, name: str, user: str, ports: Mapping[str, int]) -> Daemon:
    port = ports[name]
    # -i: one that was killed before it first saved its state would otherwise never start again.
    more = ("-i",) if name == "slurmctld" else ()
    return Daemon(
        layout, name, (f"/usr/sbin/{name}", "-D", *more), user, lambda: answers_on_port(port)
    )


def _slurmrestd(layout: Layout, ports: Mapping[str, int]) -> Daemon:
    port = ports["slurmrestd"]
    arguments = (
        # Without it slurmrestd asks auth/munge about its callers' tokens, which refuses them all.
        "/usr/bin/env",
        "SLURM_JWT=daemon",
        "/usr/sbin/slurmrestd",
        "-a",
        "rest_auth/jwt",
        *layout.release.slurmrestd_arguments,
        f"127.0.0.1:{port}",
        f"unix:{layout.inside}/rest/slurmrestd.sock",
    )
    return Daemon(
        layout,
        "slurmrestd",
        arguments,
        "slurmrest",
        lambda: answers_on_port(port),
        ("rest/slurmrestd.sock",),
    )
