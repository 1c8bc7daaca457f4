"""Nothing -> the lines that say what the figures were measured on."""

import os
import platform
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import ProcessTree
from lab.packages import GROUPS

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
BUSY_SHARE = 0.05
IDLE_COLUMNS = (3, 4)  # idle and iowait of the first line of /proc/stat (proc(5))
COUNTED_COLUMNS = 8  # user to steal; guest time is part of user time


class OtherWork:
    """How much of the processors other programs take while the benchmark runs."""

    def __init__(self) -> None:
        self._own = ProcessTree(os.getpid())
        self._seconds = 0.0
        self._taken = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count while the block runs; what this process has started is not counted."""
        busy, total, own = *_processor_seconds(), self._own.cpu_seconds()
        yield
        busy_after, total_after = _processor_seconds()
        self._taken += busy_after - busy - (self._own.cpu_seconds() - own)
        self._seconds += total_after - total

    def describe(self) -> str:
        """Return one line; figures of a machine that does other work are no figures."""
        if not self._seconds:
            return "other programs: not watched"
        share = max(0.0, self._taken / self._seconds)
        warning = "; too much for absolute numbers" if share > BUSY_SHARE else ""
        return f"other programs took {share:.0%} of the processors meanwhile{warning}"


def _processor_seconds() -> tuple[float, float]:
    """Return busy and total seconds of all processors since the start of the machine."""
    line = Path("/proc/stat").read_text().splitlines()[0]
    columns = [int(ticks) for ticks in line.split()[1 : COUNTED_COLUMNS + 1]]
    total = sum(columns)
    busy = total - sum(columns[column] for column in IDLE_COLUMNS)
    return busy / TICKS_PER_SECOND, total / TICKS_PER_SECOND


def describe_machine() -> list[str]:
    """Return processor, memory, system and the versions of everything that took part."""
    return [
        f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB",
        f"{_system()}, Linux {platform.release()}, Python {platform.python_version()}",
        ", ".join(_versions()),
    ]


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
