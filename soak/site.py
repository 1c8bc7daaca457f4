"""A release, a provider, a folder -> the running gateway with its own small disk, and what is done to it."""

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lab import mounts, places
from lab.gateway import GatewayProcess, audit_sink, settings_for
from lab.identity_provider import IdentityProvider
from lab.ports import free_port
from lab.processes import wait_until
from lab.slurm import SlurmRelease
from lab.toml_text import Settings, merged
from soak.plan import Fault

DISK_BYTES = 512 << 20
NEVER = "1000000/second"
CLASSES = ("read", "read-heavy", "submit", "job-write")
USERS = ("alice", "bob", "carol")
UP_SECONDS = 60.0
_BLOCK = bytes(1 << 20)


class Site:
    """One run's gateway. `jobs_folder` is where each job writes that it runs, as its user."""

    def __init__(
        self, release: SlurmRelease, provider: IdentityProvider, folder: Path, settle_seconds: float
    ) -> None:
        self.release, self.provider = release, provider
        self.disk = folder / "disk"
        self.version = release.api_versions[0]
        self.jobs_name = f"/tmp/soak-{secrets.token_hex(6)}"  # noqa: S108 (the jobs', of all users)
        self.jobs_folder = release.path_of(self.jobs_name)
        self.gateway = GatewayProcess(folder, self._settings(folder, settle_seconds))
        self.tokens = {user: provider.token_for(user) for user in USERS}

    def _settings(self, folder: Path, settle_seconds: float) -> Settings:
        folder.mkdir(parents=True, exist_ok=True)
        base = settings_for(self.release, self.provider, folder, free_port(), free_port())
        return merged(
            base,
            {
                "server": {"state_directory": str(self.disk / "state")},
                "audit": {"sinks": [audit_sink(self.audit_file)]},
                "limit": {
                    "rates": dict.fromkeys(CLASSES, NEVER),
                    "failed_authentications": NEVER,
                },
                "idempotency": {
                    "settle_seconds": settle_seconds,
                    "wait_seconds": settle_seconds + 10,
                },
            },
        )

    @property
    def audit_file(self) -> Path:
        """The current one; complete ones lie beside it."""
        return self.disk / "audit" / "audit.jsonl"

    @contextmanager
    def running(self, *, own_disk: bool) -> Iterator[None]:
        """The gateway, and its disk where one is wanted, until the end."""
        self.disk.mkdir()
        if own_disk:
            mounts.mount(
                "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "soak", str(self.disk)
            )
        try:
            (self.disk / "audit").mkdir()
            self.jobs_folder.mkdir()
            self.jobs_folder.chmod(0o1777)
            self.gateway.start()
            yield
        finally:
            self.gateway.stop()
            shutil.rmtree(self.jobs_folder, ignore_errors=True)
            if own_disk:
                subprocess.run(["umount", str(self.disk)], check=True)

    def resident_bytes(self) -> int:
        """The gateway's memory (proc(5), VmRSS)."""
        status = Path(f"/proc/{self.gateway.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        if found is None:
            raise RuntimeError("the gateway has ended by itself")
        return int(found[1]) * 1024

    def kill_gateway(self) -> None:
        """As the kernel does when memory is short; and up again."""
        pid = self.gateway.pid
        if pid is None:
            raise RuntimeError(f"the gateway had ended by itself; its log is {self.gateway.log}")
        os.kill(pid, signal.SIGKILL)
        self.gateway.stop()
        self.gateway.start()

    def break_it(self, fault: Fault) -> None:
        """Begin one fault."""
        match fault:
            case Fault.SLURMRESTD:
                self.release.kill("slurmrestd")
            case Fault.SLURMCTLD:
                self.release.kill("slurmctld")
            case Fault.PROVIDER:
                self.provider.kill()
            case Fault.DISK:
                self._fill()

    def mend(self, fault: Fault) -> None:
        """End it, and wait until the gateway serves again."""
        match fault:
            case Fault.SLURMRESTD:
                self.release.start("slurmrestd")
            case Fault.SLURMCTLD:
                self.release.start("slurmctld")
            case Fault.PROVIDER:
                self.provider.up()
            case Fault.DISK:
                self._ballast.unlink()
        wait_until(self.serves, UP_SECONDS, f"service after {fault.value}")

    def serves(self) -> bool:
        """Whether a read goes through to slurmctld."""
        with suppress(OSError):
            target = f"/slurm/{self.version}/diag"
            return self.gateway.ask("GET", target, self.tokens["alice"]).status == 200
        return False

    def jobs(self, states: str, *, held: bool) -> dict[str, set[str]]:
        """Key -> the numbers of its jobs, as Slurm's own command lists them."""
        found: dict[str, set[str]] = {}
        for line in self.release.run("squeue", "-h", states, "-o", "%j|%i|%r").splitlines():
            name, number, reason = line.split("|", 2)
            if name.startswith("soak-") and (held or reason != "JobHeldUser"):
                found.setdefault(name, set()).add(number)
        return found

    def fault_of_chain(self) -> str:
        """What `audit verify` finds wrong with all files of the audit; empty if nothing."""
        files = sorted(self.audit_file.parent.glob("audit*.jsonl*"))
        key = self.disk / "state" / "audit-initial.key"
        program = places.CHECKOUT / ".venv/bin/slurm-gateway"
        command = [str(program), "audit", "verify", "--key-file", str(key), *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stdout + done.stderr

    @property
    def _ballast(self) -> Path:
        return self.disk / "ballast"

    def _fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                # A full disk takes a part of a block; the next one is refused.
                file.write(_BLOCK)
