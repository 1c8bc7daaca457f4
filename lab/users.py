"""The Linux users and Slurm associations of the lab, made only where they are missing."""

from __future__ import annotations

import pwd
import subprocess
from pathlib import Path

from lab.layout import HOST
from lab.processes import LabError

ORDINARY = ("alice", "bob", "carol")
ASSOCIATED = ("alice", "bob")
"""carol may log in to the machine and has no association in Slurm."""
DAEMONS = ("slurm", "slurmrest")
"""slurmrestd refuses to run as root and, since 24.11, as SlurmUser; hence a user of its own."""
ACCOUNT = "research"


def _exists(user: str, root: Path) -> bool:
    passwd = (root / "etc/passwd").read_text()
    return any(line.startswith(f"{user}:") for line in passwd.splitlines())


def _add(root: Path, *arguments: str) -> None:
    command = ["chroot", str(root), "/usr/sbin/useradd", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 9):  # 9: another process has just added the same user
        raise LabError(f"useradd {' '.join(arguments)}: {done.stderr.strip()}")


def _uid_on_host(user: str) -> list[str]:
    try:
        return ["-u", str(pwd.getpwnam(user).pw_uid)]
    except KeyError:
        return []


def ensure(root: Path) -> None:
    """Have all users in the chroot under the numbers that they have on the host, so that files tell their owner."""
    for user in DAEMONS:
        if not _exists(user, root):
            _add(root, "--system", "-M", "-d", "/nonexistent", "-s", "/usr/sbin/nologin", user)
    for user in ORDINARY:
        if not _exists(user, HOST):
            _add(HOST, "-m", "-s", "/bin/bash", user)
        if not _exists(user, root):
            _add(root, "-m", "-s", "/bin/bash", *_uid_on_host(user), user)
