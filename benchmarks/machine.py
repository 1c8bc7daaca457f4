"""Nothing -> the lines that say what the figures were measured on."""

import os
import platform
import re
import subprocess
from pathlib import Path

from lab.packages import GROUPS

BUSY_LOAD = 0.5


def describe_machine() -> list[str]:
    """Return processor, memory, system, load and the versions of everything that took part."""
    return [
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB",
        f"{_system()}, Linux {platform.release()}, Python {platform.python_version()}",
        ", ".join(_versions()),
        _load(),
    ]


def _load() -> str:
    load = os.getloadavg()[0]
    warning = ": busy with other work, so take the ratios only" if load > BUSY_LOAD else ""
    return f"load average {load:.1f} before the run{warning}"


def _processor() -> str:
    return _first_match("/proc/cpuinfo", r"^model name\s*:\s*(.+)$", platform.machine())


def _memory_gib() -> float:
    return int(_first_match("/proc/meminfo", r"^MemTotal:\s*(\d+)", "0")) / 1024**2


def _system() -> str:
    return _first_match("/etc/os-release", r'^PRETTY_NAME="?([^"\n]+)', platform.system())


def _first_match(path: str, pattern: str, otherwise: str) -> str:
    found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return found.group(1) if found else otherwise


def _versions() -> list[str]:
    """Return "package version" for each Debian package that is installed."""
    names = [*GROUPS["bench"], "slurmrestd"]
    command = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return sorted(line for line in done.stdout.splitlines() if len(line.split()) == 2)
