"""Names of Debian packages -> installed on the host, without starting any service."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab import places
from lab.machine import MachineLacksError, codename, is_root
from lab.processes import LabError, tail
from lab.progress import Progress

GROUPS: dict[str, tuple[str, ...]] = {
    "venv": ("python3-venv",),
    "chroot": ("mmdebstrap", "debian-archive-keyring"),
    "nginx": ("nginx",),
    "store": ("redis-server",),
    "chromium": ("chromium",),
    "shells": ("man-db", "mandoc", "zsh", "fish"),
    "systemd": ("systemd", "libseccomp2"),
    "bench": ("nginx", "haproxy", "apache2", "libapache2-mod-auth-openidc", "wrk"),
}
POLICY = Path("/usr/sbin/policy-rc.d")
APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3")


def is_installed(packages: Sequence[str], root: Path = Path("/")) -> bool:
    """Whether dpkg has them all, on the host or in a chroot."""
    command = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${db:Status-Status} "]
    done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    return done.returncode == 0 and set(done.stdout.split()) == {"installed"}


def installed_version(package: str, root: Path = Path("/")) -> str:
    """The version that dpkg has, on the host or in a chroot; empty for none."""
    command = ["dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", "${Version}", package]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def candidate(package: str, prefix: Sequence[str] = ()) -> str:
    """The version that apt would install or has; empty when it knows none."""
    command = [*prefix, "apt-cache", "policy", package]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"^  Candidate: (\d.*)$", done.stdout, re.MULTILINE)
    return found[1] if found else ""


def run_logged(
    command: Sequence[str], log: Path, environment: dict[str, str] | None = None
) -> None:
    """Run a command with its output in a log; LabError with the log's last lines."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        done = subprocess.run(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env=environment,
            check=False,
        )
    if done.returncode:
        raise LabError(f"{' '.join(command)} failed; from {log}:\n{tail(log)}")


@contextmanager
def _services_stay_off() -> Iterator[None]:
    """Maintainer scripts ask policy-rc.d whether to start a service (Debian Policy 9.3.3.1): say no meanwhile."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def update(log: Path, progress: Progress) -> None:
    """Fetch the lists of packages once for all that asks in this run."""
    with progress.step("apt-get update"):
        run_logged([*APT, "update"], log)


def install(packages: Sequence[str], progress: Progress) -> None:
    """Install what is missing of these packages on the host."""
    if is_installed(packages):
        return
    _require_right_to_install(packages)
    log = places.state_root() / "apt.log"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    lock = places.RUNTIME / "apt.lock"
    with places.locked(lock, progress, "another process that installs packages"):
        if is_installed(packages):
            return
        update(log, progress)
        names = " ".join(packages)
        with _services_stay_off(), progress.step(f"installing {names}"):
            run_logged(
                [*APT, "install", "-y", "--no-install-recommends", *packages], log, environment
            )


def _require_right_to_install(packages: Sequence[str]) -> None:
    lacking = [name for name in packages if not is_installed([name])]
    if shutil.which("apt-get") is None or not is_root():
        names = " ".join(lacking)
        raise MachineLacksError(
            f"missing: {names}; type: sudo apt-get install --no-install-recommends {names}"
        )


def mirror() -> str:
    """The Debian mirror that this machine's apt uses; empty where it uses none, as on Ubuntu."""
    if given := os.environ.get("LAB_DEBIAN_MIRROR"):
        return given
    if shutil.which("apt-get") is None:
        return ""
    wanted = "$(ORIGIN)|$(CODENAME)|$(REPO_URI)"
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", wanted], capture_output=True, text=True, check=False
    )
    prefix = f"Debian|{codename()}|"
    rows = [
        line.removeprefix(prefix) for line in done.stdout.splitlines() if line.startswith(prefix)
    ]
    return rows[0].rstrip("/") if rows else ""
