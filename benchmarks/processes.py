"""A command -> a running process tree, its CPU seconds and its memory; and its end.

Figures come from /proc: utime and stime of /proc/PID/stat (proc(5), fields 14 and 15),
VmRSS and VmHWM of /proc/PID/status.
"""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
START_SECONDS = 20.0
STOP_SECONDS = 10.0
RESET_PEAK = "5"  # written to /proc/PID/clear_refs: VmHWM starts again at VmRSS


class ProcessStartError(Exception):
    """A program ended, or did not listen in time; the text carries its last log lines."""


@dataclass(frozen=True)
class ProcessTree:
    """A process with all its descendants, named by the root's process id."""

    root: int

    def members(self) -> list[int]:
        """Return the ids of the root and of every descendant that lives now."""
        children: dict[int, list[int]] = {}
        for process, parent in _parents():
            children.setdefault(parent, []).append(process)
        found = [self.root]
        for process in found:
            found.extend(children.get(process, []))
        return found

    def cpu_seconds(self) -> float:
        """Return user and system time of the whole tree, ended children included."""
        return sum(_cpu_ticks(process) for process in self.members()) / TICKS_PER_SECOND

    def resident_mb(self) -> float:
        """Return the resident memory of the whole tree now, in MiB."""
        return sum(_status_kib(process, "VmRSS") for process in self.members()) / 1024

    def peak_mb(self) -> float:
        """Return the sum of each member's highest resident memory, in MiB."""
        return sum(_status_kib(process, "VmHWM") for process in self.members()) / 1024

    def reset_peak(self) -> None:
        """Let the peak start again at the present memory (needs the same user or root)."""
        for process in self.members():
            Path(f"/proc/{process}/clear_refs").write_text(RESET_PEAK)


@contextmanager
def running(
    command: Sequence[str], port: int, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[ProcessTree]:
    """Start a program, wait until it listens on the loopback port, stop it at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    try:
        _wait_until_listening(process, port, log)
        yield ProcessTree(process.pid)
    finally:
        _stop(process)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    program = Path(str(process.args[0] if isinstance(process.args, list) else process.args)).name
    raise ProcessStartError(f"{program} does not listen on port {port}:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask politely, then end the whole session that was started with the process."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat_fields(int(entry.name))
            if fields:
                yield int(entry.name), int(fields[1])


def _stat_fields(process: int) -> list[str]:
    """Return the fields behind the command's name (which may hold blanks); [] when it is gone."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()


def _cpu_ticks(process: int) -> int:
    return sum(int(ticks) for ticks in _stat_fields(process)[11:15])


def _status_kib(process: int, name: str) -> int:
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    values = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")]
    return int(values[0]) if values else 0
