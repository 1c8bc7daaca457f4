"""A release of the catalogue -> a running one-node cluster with slurmrestd, and what a test may do to it."""

from __future__ import annotations

import http.client
import json
import pwd
import signal
import subprocess
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path

from lab import layout as layouts
from lab import places, ports, releases
from lab.bringing_up import Installation
from lab.configuration import PORTS
from lab.daemons import Daemon, daemons
from lab.jobs import cancel_all, end_job_steps
from lab.layout import Layout
from lab.processes import LabError
from lab.progress import Progress
from lab.slurm_jwt import slurm_token

LONGEST_SOCKET_PATH = 107
"""Bytes in sun_path without its NUL (unix(7))."""


class SlurmRelease:
    """One real Slurm on loopback. Every method may be called from several processes at once."""

    def __init__(self, release: releases.Release, checkout: Path = places.CHECKOUT) -> None:
        self.release = release
        self._checkout = checkout

    def __repr__(self) -> str:
        return f"<Slurm {self.release.slurm} from {self.release.suite}>"

    @classmethod
    def named(cls, name: str) -> SlurmRelease:
        """The release with this suite or number: bookworm, 22.05. LookupError when there is none."""
        return cls(releases.named(name))

    @property
    def name(self) -> str:
        """Its suite, which is also its folder in .lab/."""
        return self.release.suite

    @property
    def api_versions(self) -> tuple[str, ...]:
        """The REST versions to test it with, the preferred one first."""
        return self.release.api_versions

    @cached_property
    def layout(self) -> Layout:
        """Where everything lies."""
        return layouts.layout_of(self.release, self._checkout)

    @property
    def ports(self) -> dict[str, int]:
        """The loopback port of each daemon that has one; empty before the first start."""
        return ports.remembered_ports(self.layout.folder)

    @property
    def url(self) -> str:
        """slurmrestd over TCP, without a slash at the end."""
        return f"http://127.0.0.1:{self.ports['slurmrestd']}"

    @property
    def socket(self) -> Path:
        """slurmrestd's UNIX socket, by a path that fits into an address."""
        path = self.path_of(self.layout.inside / "rest/slurmrestd.sock")
        if len(str(path)) <= LONGEST_SOCKET_PATH:
            return path
        link = places.runtime_root(self._checkout) / f"{self.name}-rest"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(path.parent)
        return link / path.name

    @property
    def key_file(self) -> Path:
        """The HS256 key in a copy of root's with mode 0600, as a gateway wants it."""
        return self.layout.folder / "jwt_hs256.key"

    def path_of(self, file: Path | str) -> Path:
        """A file that a job or a daemon names, as this machine sees it."""
        return self.layout.path_of(file)

    def owner_of(self, file: Path | str) -> str:
        """The user who owns a file that a job or a daemon names; users have one number everywhere in the lab."""
        return pwd.getpwuid(self.path_of(file).stat().st_uid).pw_name

    def up(self, progress: Progress | None = None) -> list[str]:
        """Install what is missing, start what does not run, and return the names of the daemons it started.

        MovedError: the suite has another Slurm by now. MachineLacksError: it cannot run here. LabError: it failed.
        """
        say = progress or Progress(self.name)
        if self.is_up():
            return []
        with self._locked(say):
            return Installation(self.layout, say).up()

    def down(self, progress: Progress | None = None) -> list[str]:
        """Cancel all jobs, stop what up started and undo its mounts; return the names of what was stopped."""
        say = progress or Progress(self.name)
        with self._locked(say):
            stopped = self._stop_all(say)
            layouts.detach_state(self.layout)
        return stopped

    def _locked(self, progress: Progress) -> AbstractContextManager[None]:
        lock = self.layout.folder / "lock"
        return places.locked(lock, progress, f"another process that works on {self.name}")

    def _stop_all(self, progress: Progress) -> list[str]:
        stopped: list[str] = []
        if self.running() == self.expected():
            with progress.step("cancelling all jobs"):
                cancel_all(self.layout)
        if self.ports:
            for daemon in reversed(self._daemons().values()):
                stopped += [daemon.name] if daemon.process.stop() else []
        end_job_steps(self.layout)
        if stopped:
            progress.say(f"stopped {', '.join(stopped)}")
        return stopped

    def _daemons(self) -> dict[str, Daemon]:
        return daemons(self.layout, self.ports or dict.fromkeys(PORTS, 0))

    def expected(self) -> list[str]:
        """The names of all its daemons, in the order in which they start."""
        return list(self._daemons())

    def running(self) -> list[str]:
        """The names of the daemons that run."""
        return [daemon.name for daemon in self._daemons().values() if daemon.is_running()]

    def is_up(self) -> bool:
        """Whether all daemons run and slurmrestd serves an authenticated read."""
        return bool(self.ports) and self.running() == self.expected() and self.serves_reads()

    def serves_reads(self) -> bool:
        """Whether slurmrestd answers diag with 200; ping would not do, it lies about bad tokens since 24.11."""
        try:
            status, _ = self.request("slurm", "GET", f"/slurm/{self.api_versions[0]}/diag")
        except (OSError, http.client.HTTPException):
            return False
        return status == 200

    def start(self, daemon: str, **environment: str) -> bool:
        """Start one daemon (slurmctld, slurmd, slurmdbd, slurmrestd, munged, mariadbd). False: it ran."""
        return self._daemons()[daemon].with_environment(environment).start()

    def stop(self, daemon: str) -> bool:
        """Stop one daemon with SIGTERM. False: it did not run."""
        return self._daemons()[daemon].process.stop()

    def kill(self, daemon: str) -> bool:
        """Stop one daemon with SIGKILL, without a chance to finish anything. False: it did not run."""
        return self._daemons()[daemon].process.stop(first=signal.SIGKILL)

    def pid_of(self, daemon: str) -> int | None:
        """The number of a daemon's process; None when it does not run."""
        return self._daemons()[daemon].process.pid()

    def log_of(self, daemon: str) -> Path:
        """A daemon's own log file."""
        return self.layout.outside / "log" / f"{daemon}.log"

    def run(self, *command: str, user: str = "root", seconds: float = 60.0) -> str:
        """Run a Slurm command inside, as one of the users, and return what it prints. LabError when it fails."""
        done = subprocess.run(
            self.layout.command(command, user),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise LabError(
                f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    def token(self, user: str, lifetime_seconds: int = 300) -> str:
        """A token of the cluster's own for a user, for asking slurmrestd directly."""
        return slurm_token(user, self.key_file.read_bytes(), lifetime_seconds)

    def request(
        self, user: str, method: str, path: str, body: object = None, seconds: float = 60.0
    ) -> tuple[int, bytes]:
        """Ask slurmrestd directly, past any gateway; status and body. OSError or HTTPException when it fails."""
        headers = {"X-SLURM-USER-NAME": user, "X-SLURM-USER-TOKEN": self.token(user)}
        payload = None if body is None else json.dumps(body).encode()
        if payload is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.ports["slurmrestd"], timeout=seconds
        )
        try:
            connection.request(method, path, payload, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def all_releases() -> list[SlurmRelease]:
    """Every release of the catalogue, whether it can run here or not."""
    return [SlurmRelease(release) for release in releases.releases()]
