"""What this machine is, what it lacks for the real things, and what to type about it."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

CAP_SYS_ADMIN = 21
"""Its bit in CapEff, from linux/capability.h."""
KEPT_ACROSS_SUDO = re.compile(
    r"(?i)(pip|npm_config)_\w+|\w+_proxy|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|LAB_DEBIAN_MIRROR"
)
"""How pip, npm and apt get at what they fetch, which sudo would take away."""


class MachineLacksError(Exception):
    """The machine cannot run the real things; the text says what is missing and what to type."""


def codename() -> str:
    """The suite that this machine runs (bookworm, noble); empty where nobody says."""
    try:
        return platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    except OSError:
        return ""


def is_debian() -> bool:
    """Whether this is Debian itself, not something built on it."""
    try:
        return platform.freedesktop_os_release().get("ID") == "debian"
    except OSError:
        return False


def is_root() -> bool:
    """Whether this process may start daemons as other users."""
    return os.geteuid() == 0


def missing(
    which: Mapping[str, str | None] | None = None, *, root: bool | None = None
) -> list[str]:
    """What keeps the real things from running here, one sentence each with its remedy; empty when nothing does."""
    found = {name: shutil.which(name) for name in ("apt-get", "sudo")} if which is None else which
    sentences = []
    if not sys.platform.startswith("linux"):
        sentences.append(
            "Linux is missing: Slurm's daemons run on nothing else here; use a Debian 12 machine"
        )
    if not found.get("apt-get"):
        sentences.append(
            "apt-get is missing: Slurm comes from Debian's packages; use Debian 12 or Ubuntu, or a container of it:"
            " docker run --privileged -it -v $PWD:/src -w /src debian:12"
        )
    if not (is_root() if root is None else root):
        sentences.append(
            "root is missing: Slurm's daemons run as several users; type: sudo make demo (or su - first)"
            if found.get("sudo")
            else "root is missing, and so is sudo: become root (su -) and type the same again"
        )
    return sentences


def missing_for_chroots(status: str | None = None) -> list[str]:
    """What keeps other suites from running in chroots here; they need to mount /proc, /sys and /dev."""
    text = Path("/proc/self/status").read_text() if status is None else status
    effective = next(
        (int(line.split()[1], 16) for line in text.splitlines() if line.startswith("CapEff:")), 0
    )
    if effective >> CAP_SYS_ADMIN & 1:
        return []
    what = "the right to mount is missing, so no other Debian suite can run here"
    return [f"{what}; start the container with --privileged, or use a virtual machine"]


def require(sentences: Sequence[str] | None = None) -> None:
    """MachineLacksError with all that is missing, at once."""
    lacking = missing() if sentences is None else sentences
    if lacking:
        raise MachineLacksError("\n".join(lacking))


def become_root(arguments: Sequence[str]) -> None:
    """Where this is an ordinary user whom sudo lets, run the same command again as root; otherwise return."""
    sudo = shutil.which("sudo")
    if is_root() or sudo is None or shutil.which("apt-get") is None:
        return
    sys.stderr.write("Slurm's daemons and packages need root: asking sudo.\n")
    if subprocess.run([sudo, "--validate"], check=False).returncode:
        return
    kept = [name for name in os.environ if KEPT_ACROSS_SUDO.fullmatch(name)]
    preserve = [f"--preserve-env={','.join(kept)}"] if kept else []
    # -B: root's byte code in the checkout would be in the way of whoever owns it.
    command = [sudo, *preserve, sys.executable, "-B", "-m", "lab", *arguments]
    os.execv(sudo, command)  # noqa: S606 - no shell is what is wanted


def has_venv() -> bool:
    """Whether ``python -m venv`` works; Debian packs ensurepip apart."""
    return importlib.util.find_spec("ensurepip") is not None
