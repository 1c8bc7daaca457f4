"""A layout -> its cluster installed, configured and running; each step does only what is not done yet."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from lab import layout as layouts
from lab import machine, packages, places, ports, rootfs, users
from lab.configuration import CLUSTER, PORTS, cgroup_conf, database_sql, slurm_conf, slurmdbd_conf
from lab.daemons import Daemon, daemons
from lab.layout import Layout
from lab.processes import LabError, wait_until
from lab.progress import Progress

FOLDERS = {
    "etc": ("root", 0o755),
    "slurmd": ("root", 0o755),
    "log": ("slurm", 0o755),
    "run": ("slurm", 0o755),
    "slurmctld": ("slurm", 0o755),
    "keys": ("slurm", 0o755),
    "munge": ("munge", 0o755),
    "rest": ("slurmrest", 0o755),
    "db": ("mysql", 0o700),
}
SECRETS = {"munge/munge.key": ("munge", 1024), "keys/jwt_hs256.key": ("slurm", 32)}


class Installation:
    """The steps from nothing to a cluster that runs jobs. Hold the release's lock around them."""

    def __init__(self, layout: Layout, progress: Progress) -> None:
        self._layout = layout
        self._progress = progress

    def up(self) -> list[str]:
        """All steps; the names of the daemons that were started."""
        machine.require()
        self._install()
        users.ensure(self._layout.root)
        layouts.attach_state(self._layout)
        self._make_folders()
        known = ports.remembered_ports(self._layout.folder)
        running = bool(known) and any(d.is_running() for d in daemons(self._layout, known).values())
        chosen = known if running else ports.choose_ports(self._layout.folder, PORTS)
        self._configure(chosen)
        return self._start(daemons(self._layout, chosen))

    def _install(self) -> None:
        note = self._layout.folder / "moved"
        try:
            if not self._layout.on_host:
                rootfs.ensure(self._layout.root, self._layout.release, self._progress)
            elif not packages.is_installed(self._layout.release.packages):
                packages.install(self._layout.release.packages, self._progress)
            rootfs.require_expected(
                self._layout.release, packages.installed_version("slurmctld", self._layout.root)
            )
        except rootfs.MovedError as moved:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(f"{moved}\n")
            raise
        note.unlink(missing_ok=True)

    def _inside(self, arguments: list[str], user: str = "root", input_text: str = "") -> str:
        done = subprocess.run(
            self._layout.command(arguments, user),
            capture_output=True,
            text=True,
            input=input_text,
            check=False,
        )
        if done.returncode:
            raise LabError(f"{' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def _give(self, path: Path, user: str) -> None:
        """Hand a file to a user as the cluster's own passwd numbers it."""
        line = next(
            line
            for line in (self._layout.root / "etc/passwd").read_text().splitlines()
            if line.startswith(f"{user}:")
        )
        _, _, uid, gid, *_ = line.split(":")
        os.chown(path, int(uid), int(gid))

    def _make_folders(self) -> None:
        state = self._layout.outside
        state.mkdir(mode=0o755, exist_ok=True)
        for name, (user, mode) in FOLDERS.items():
            (state / name).mkdir(exist_ok=True)
            (state / name).chmod(mode)
            self._give(state / name, user)
        for name, (user, size) in SECRETS.items():
            if not (state / name).exists():
                places.write_private(state / name, secrets.token_bytes(size), 0o400)
                self._give(state / name, user)
        # A gateway that runs as root takes a key of root's or of its own, not slurmctld's file.
        places.write_private(
            self._layout.folder / "jwt_hs256.key", (state / "keys/jwt_hs256.key").read_bytes()
        )

    def _password(self) -> str:
        """The database's password for slurmdbd, made once."""
        file = self._layout.folder / "database-password"
        if not file.exists():
            places.write_private(file, secrets.token_hex(16).encode())
        return file.read_text()

    def _configure(self, chosen: dict[str, int]) -> None:
        etc = self._layout.outside / "etc"
        host = socket.gethostname().split(".")[0]
        (etc / "slurm.conf").write_text(slurm_conf(self._layout, chosen, host))
        (etc / "cgroup.conf").write_text(cgroup_conf(self._layout))
        dbd = etc / "slurmdbd.conf"
        places.write_private(dbd, slurmdbd_conf(self._layout, chosen, self._password()).encode())
        self._give(dbd, "slurm")

    def _start(self, cluster: dict[str, Daemon]) -> list[str]:
        before: dict[str, Callable[[], None]] = {"mariadbd": self._create_database}
        after: dict[str, Callable[[], None]] = {
            "mariadbd": self._let_slurmdbd_in,
            "slurmdbd": self._register,
        }
        started = []
        with self._progress.step(f"starting Slurm {self._layout.release.slurm}"):
            for daemon in cluster.values():
                before.get(daemon.name, _nothing)()
                started += [daemon.name] if daemon.start() else []
                after.get(daemon.name, _nothing)()
            self._await_node()
        return started

    def _create_database(self) -> None:
        at = self._layout.inside / "db"
        if (self._layout.path_of(at) / "mysql").exists():
            return
        with self._progress.step("creating the accounting database"):
            install = ["mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={at}"]
            self._inside([*install, "--auth-root-authentication-method=socket", "--skip-test-db"])

    def _let_slurmdbd_in(self) -> None:
        client = ["mariadb", "--no-defaults", "-S", f"{self._layout.inside}/db/mariadb.socket"]
        self._inside(client, input_text=database_sql(self._password()))

    def _register(self) -> None:
        """The cluster, its account and the associations, asked for only until they are there once."""
        done = self._layout.folder / "registered"
        if done.exists():
            return
        with self._progress.step("registering the cluster, an account and two users"):
            add = ["sacctmgr", "--immediate", "add"]
            wait_until(
                lambda: self._works(["sacctmgr", "-n", "list", "cluster"]), 30, "slurmdbd answers"
            )
            if CLUSTER not in self._inside(["sacctmgr", "-n", "list", "cluster", "format=cluster"]):
                self._inside([*add, "cluster", CLUSTER])
            if users.ACCOUNT not in self._inside(
                ["sacctmgr", "-n", "list", "account", "format=account"]
            ):
                self._inside([*add, "account", users.ACCOUNT, f"cluster={CLUSTER}"])
            known = self._inside(["sacctmgr", "-n", "list", "user", "format=user"]).split()
            if lacking := [user for user in users.ASSOCIATED if user not in known]:
                self._inside(
                    [
                        *add,
                        "user",
                        ",".join(lacking),
                        f"account={users.ACCOUNT}",
                        f"cluster={CLUSTER}",
                    ]
                )
        done.touch()

    def _works(self, arguments: list[str]) -> bool:
        command = self._layout.command(arguments)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _await_node(self) -> None:
        """Wait until the node takes jobs."""
        states = ("idle", "mixed", "alloc")

        def ready() -> bool:
            return self._works(["scontrol", "ping"]) and self._inside(
                ["sinfo", "-h", "-o", "%T"]
            ).startswith(states)

        wait_until(ready, 60, "the node takes jobs")


def _nothing() -> None:
    return


def forget(layout: Layout) -> None:
    """Delete a stopped cluster with its chroot; LabError while anything is mounted below it."""
    layouts.detach_state(layout)
    if not layout.on_host:
        rootfs.remove(layout.root)
    shutil.rmtree(layout.folder, ignore_errors=False)
