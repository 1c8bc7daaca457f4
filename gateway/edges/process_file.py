"""The running gateway's place in its state directory: a locked pid file, and what a reload came to."""

import fcntl
import json
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PID_FILE = "gateway.pid"
OUTCOME_FILE = "reload.json"
HASH_KEY_FILE = "audit-hash.key"
BINDINGS_FILE = "bindings.sqlite"
KEYS_FILE = "idempotency.sqlite"
SESSIONS_FILE = "sessions.sqlite"
_OWN_FILES = (
    PID_FILE,
    OUTCOME_FILE,
    f".{OUTCOME_FILE}",
    "audit-",
    ".audit-",
    BINDINGS_FILE,
    KEYS_FILE,
    f"{KEYS_FILE}-wal",
    f"{KEYS_FILE}-shm",
    SESSIONS_FILE,
    "bindings.name",
    ".bindings.name",
    "worker-",
)
_OTHERS = 0o077


class ProcessFileError(Exception):
    """The state directory cannot be used, or another gateway uses it; the text says which."""


class Outcome(NamedTuple):
    """What one reload came to. `started` is the machine's monotonic clock in nanoseconds."""

    started: int
    generation: int
    problems: tuple[str, ...]
    config: str


def prepare_state_directory(path: Path) -> None:
    """Make the directory where it is missing, and close it to everybody else if it is ours alone.

    One that others may enter and that holds other things is left as it is and refused: whoever
    names /tmp or /var/lib must not find it closed.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        stranger = find_stranger(path)
        if stranger:
            raise ProcessFileError(
                f"state directory {path} is open to others and holds {stranger}:"
                f" name a directory of the gateway's own, or chmod 0700 {path}"
            )
        path.chmod(0o700)
    except OSError as error:
        raise ProcessFileError(
            f"state directory {path} cannot be used: {error.strerror}"
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ProcessFileError(f"state directory {path} cannot be written")


def find_stranger(path: Path) -> str:
    """Something in a directory open to others that is not the gateway's; empty if there is nothing."""
    if not path.stat().st_mode & _OTHERS:
        return ""
    names = (entry.name for entry in path.iterdir())
    return min((name for name in names if not name.startswith(_OWN_FILES)), default="")


class PidFile:
    """Held, with its lock, as long as the process lives: the kernel frees it however that ends."""

    def __init__(self, state_directory: Path) -> None:
        path = state_directory / PID_FILE
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = _read_pid(self._descriptor)
            os.close(self._descriptor)
            raise ProcessFileError(
                f"a gateway runs already with {state_directory} (pid {other})"
            ) from error
        os.fchmod(self._descriptor, 0o600)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        # another process's outcome, perhaps of before a reboot, which sets the clock in it back
        (state_directory / OUTCOME_FILE).unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the file, then free the lock."""
        with suppress(FileNotFoundError):
            self._path.unlink()
        os.close(self._descriptor)


def _read_pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def is_gateway_running(state_directory: Path) -> bool:
    """Whether a gateway holds the pid file."""
    try:
        descriptor = os.open(state_directory / PID_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _is_locked(descriptor)
    finally:
        os.close(descriptor)


def signal_running(state_directory: Path, number: signal.Signals) -> int:
    """Signal the gateway that holds the pid file; returns its pid. Never signals a stale one."""
    try:
        descriptor = os.open(state_directory / PID_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise ProcessFileError(
            f"no gateway runs with {state_directory} ({PID_FILE}: {error.strerror})"
        ) from error
    try:
        return _signal_holder(descriptor, state_directory, number)
    finally:
        os.close(descriptor)


def _signal_holder(descriptor: int, state_directory: Path, number: signal.Signals) -> int:
    pid = _read_pid(descriptor)
    if pid == 0 or not _is_locked(descriptor):
        raise ProcessFileError(f"no gateway runs with {state_directory} ({PID_FILE} is stale)")
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError as error:
        raise ProcessFileError(f"no gateway runs with {state_directory}") from error
    try:
        if not _is_locked(descriptor):  # it ended before we held it fast; the pid may be another's
            raise ProcessFileError(f"the gateway with {state_directory} has just ended")
        signal.pidfd_send_signal(process, number)
    except PermissionError as error:
        raise ProcessFileError(f"pid {pid} is not ours to signal: run as its user") from error
    finally:
        os.close(process)
    return pid


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def write_outcome(
    state_directory: Path, started: int, generation: int, problems: Sequence[str], config: Path
) -> None:
    """Tell whoever asked for the reload what it came to; the file is replaced in one step."""
    fresh = state_directory / f".{OUTCOME_FILE}"
    outcome = Outcome(started, generation, tuple(problems), str(config))
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(outcome._asdict(), file)
    fresh.replace(state_directory / OUTCOME_FILE)


def wait_for_outcome(state_directory: Path, since: int, seconds: float) -> Outcome | None:
    """The outcome of a reload begun at or after `since` (monotonic ns); None when none came."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(FileNotFoundError, ValueError, TypeError, KeyError):
            raw = json.loads((state_directory / OUTCOME_FILE).read_text())
            outcome = Outcome(**{**raw, "problems": tuple(raw["problems"])})
            if outcome.started >= since:
                return outcome
        time.sleep(0.02)
    return None
