"""The pid file that only a living gateway holds, and the outcome of a reload."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.edges.process_file import (
    OUTCOME_FILE,
    PID_FILE,
    PidFile,
    ProcessFileError,
    is_gateway_running,
    prepare_state_directory,
    signal_running,
    wait_for_outcome,
    write_outcome,
)

_HOLDER = """
import os, signal, sys, time
from pathlib import Path
from gateway.edges.process_file import PidFile
def told(number, frame):
    os.write(1, b"told\\n")  # print may be under way in the code that the signal interrupts
signal.signal(signal.SIGHUP, told)
held = PidFile(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


@contextmanager
def holder(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the pid file and says when it gets SIGHUP."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_file_is_private_and_holds_the_pid_while_the_process_lives(tmp_path: Path) -> None:
    held = PidFile(tmp_path)
    path = tmp_path / PID_FILE
    assert path.read_text() == f"{os.getpid()}\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert is_gateway_running(tmp_path)
    held.close()
    assert not path.exists()
    assert not is_gateway_running(tmp_path)


def test_a_second_gateway_with_the_same_directory_does_not_start(tmp_path: Path) -> None:
    with holder(tmp_path) as process, pytest.raises(ProcessFileError, match=str(process.pid)):
        PidFile(tmp_path)


def test_the_running_gateway_is_signalled(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        assert signal_running(tmp_path, signal.SIGHUP) == process.pid
        assert process.stdout is not None
        assert process.stdout.readline() == "told\n"


def test_a_stale_pid_is_never_signalled(tmp_path: Path) -> None:
    """The number may be somebody else's by now: here it is a living process that is no gateway."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as bystander:
        (tmp_path / PID_FILE).write_text(f"{bystander.pid}\n")
        with pytest.raises(ProcessFileError, match="is stale"):
            signal_running(tmp_path, signal.SIGKILL)
        assert bystander.poll() is None
        bystander.kill()


def test_a_killed_gateways_place_is_free(tmp_path: Path) -> None:
    with holder(tmp_path):
        pass
    assert (tmp_path / PID_FILE).exists()
    assert not is_gateway_running(tmp_path)
    PidFile(tmp_path).close()


def test_no_gateway_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProcessFileError, match="no gateway runs with"):
        signal_running(tmp_path, signal.SIGHUP)


def test_an_earlier_process_outcome_is_forgotten(tmp_path: Path) -> None:
    """The machine's monotonic clock begins anew with a reboot, and the file may be older."""
    write_outcome(tmp_path, time.monotonic_ns() + 10**18, 9, [], Path("/etc/gateway.toml"))
    held = PidFile(tmp_path)
    assert wait_for_outcome(tmp_path, 0, 0.05) is None
    held.close()


def test_the_state_directory_is_made_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "state"
    prepare_state_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o755)  # as systemd's StateDirectory makes it
    prepare_state_directory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_that_is_not_the_gateways_own_is_left_as_it_is(tmp_path: Path) -> None:
    """`state_directory = "/tmp"` must not close /tmp to everybody."""
    tmp_path.chmod(0o1777)
    (tmp_path / "somebody-elses").touch()
    with pytest.raises(ProcessFileError, match="is open to others and holds somebody-elses"):
        prepare_state_directory(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o1777


def test_a_closed_directory_may_hold_other_things(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "notes").touch()
    prepare_state_directory(tmp_path)


def test_a_state_directory_without_a_parent_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProcessFileError, match="cannot be used: No such file"):
        prepare_state_directory(tmp_path / "missing" / "state")


def test_an_outcome_is_waited_for_and_older_ones_are_not_taken_for_it(tmp_path: Path) -> None:
    old = time.monotonic_ns()
    write_outcome(tmp_path, old, 1, [], Path("/etc/gateway.toml"))
    assert wait_for_outcome(tmp_path, old + 1, 0.1) is None
    write_outcome(tmp_path, old + 1, 2, ["a: b"], Path("/etc/gateway.toml"))
    outcome = wait_for_outcome(tmp_path, old + 1, 0.1)
    assert outcome is not None
    assert (outcome.generation, outcome.problems) == (2, ("a: b",))
    assert stat.S_IMODE((tmp_path / OUTCOME_FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", json.dumps({"started": 1, "x": 2})])
def test_an_outcome_that_cannot_be_read_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / OUTCOME_FILE).write_text(content)
    assert wait_for_outcome(tmp_path, 0, 0.05) is None
