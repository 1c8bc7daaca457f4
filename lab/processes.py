"""(program, arguments) <-> a recorded process that can be found and stopped again, and no other."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.05
CLEAN_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/"}


class LabError(Exception):
    """Something in the lab did not come up; the text says what, and where its log is."""


def wait_until(
    ready: Callable[[], bool], seconds: float, what: str, poll_seconds: float = POLL_SECONDS
) -> None:
    """Poll until ready; LabError with ``what`` after so many seconds."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {seconds:.0f} s")
        time.sleep(poll_seconds)


def executable_of(pid: int) -> str:
    """The path of what a process runs, or the name alone of somebody else's; empty for none and for a zombie."""
    try:
        return str(Path(f"/proc/{pid}/exe").readlink())
    except PermissionError:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def start_ticks_of(pid: int) -> str:
    """When a process started, in clock ticks since boot: it tells a process from a later one with its number."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def descendants_of(pid: int) -> list[int]:
    """The children of a process and theirs, the youngest generation last."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(entry.parent.name))
    found = [pid]
    for at in found:
        found.extend(parents.get(at, []))
    return found[1:]


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log, for an error message."""
    if not log.exists():
        return "  (there is no log)"
    return "\n".join("  " + line for line in log.read_text(errors="replace").splitlines()[-lines:])


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def _inheritable() -> list[int]:
    """Descriptors that a daemon must not keep open, or whoever waits for their other end waits for ever."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - numbers, not paths
        with contextlib.suppress(OSError):  # the listing's own descriptor is gone already
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


def _has_closed_all(pid: int) -> bool:
    """Whether a zombie holds no socket any more: it loses its executable first, its last thread's files at last."""
    return _is_zombie(pid) and len(list(Path(f"/proc/{pid}/task").glob("*"))) <= 1


Launch = Callable[[Sequence[str], Path, Mapping[str, str]], int]
"""(command, log, environment) -> the number of the new process."""


def execute(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    """Start a program in a session of its own, with its output appended to a log."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        *((os.POSIX_SPAWN_CLOSE, descriptor) for descriptor in _inheritable()),
    ]
    return os.posix_spawnp(
        command[0], list(command), dict(environment), file_actions=actions, setsid=True
    )


@dataclass(frozen=True)
class Recorded:
    """A process whose number, start time and program are kept in a file."""

    record: Path
    program: str
    """The start of its executable's name: slurmctld runs as slurmctld-wlm on Debian."""
    called: str = ""
    """What messages call it, where the program's name says nothing."""

    @property
    def _name(self) -> str:
        return self.called or self.program

    def pid(self) -> int | None:
        """The number of the running process; None when it does not run, or when that number is another's now."""
        try:
            number, ticks = self.record.read_text().split()
        except (OSError, ValueError):
            return None
        pid = int(number)
        name = Path(executable_of(pid)).name
        return pid if name.startswith(self.program) and start_ticks_of(pid) == ticks else None

    def start(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] = CLEAN_ENVIRONMENT,
        launch: Launch = execute,
    ) -> int:
        """Start a program in a session of its own, with its output appended to a log, and record it."""
        pid = launch(command, log, environment)
        self.record.parent.mkdir(parents=True, exist_ok=True)
        self.record.write_text(f"{pid} {start_ticks_of(pid)}\n")
        return pid

    def await_answer(self, answers: Callable[[], bool], seconds: float, log: Path) -> None:
        """Wait until what was just started answers. LabError with its log's end when it ends first or takes longer."""
        number, ticks = self.record.read_text().split()

        def ready() -> bool:
            if start_ticks_of(int(number)) != ticks or _is_zombie(int(number)):
                raise LabError(f"{self._name} ended at once")
            return self.pid() is not None and answers()

        try:
            wait_until(ready, seconds, f"an answer of {self._name}")
        except LabError as error:
            raise LabError(f"{error}; from {log}:\n{tail(log)}") from None

    def stop(self, seconds: float = 15.0, first: signal.Signals = signal.SIGTERM) -> bool:
        """Ask the process to end, insist after so many seconds, and forget it. False: it did not run."""
        pid = self.pid()
        if pid is not None:
            end(pid, seconds, first)
        self.record.unlink(missing_ok=True)
        return pid is not None


def end(pid: int, seconds: float = 15.0, first: signal.Signals = signal.SIGTERM) -> None:
    """Signal one process and see it gone, with SIGKILL after so many seconds."""
    ticks = start_ticks_of(pid)

    def gone() -> bool:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return start_ticks_of(pid) != ticks or _has_closed_all(pid)

    for sign, patience in ((first, seconds), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        with contextlib.suppress(LabError):
            wait_until(gone, patience, f"end of process {pid}")
            return
    raise LabError(f"process {pid} does not end")
