"""A command of slurm-gateway -> a process that has its modules already; what a short one printed and its exit code.

Loading them is nine tenths of what a command costs and half of what a gateway of a test does, and there are hundreds
of both in a run of all tests. Each has a process of its own all the same: its environment, working directory, streams,
session, signals and end. How the program itself starts is held by the tests that execute it: the demo, the unit of
systemd, the image's install steps, load with faults.
"""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

_COMMANDS = ("audit", "bindings", "check", "explain", "operations", "reload", "serve", "sessions")


class Process(Protocol):
    """What tests use of a subprocess.Popen."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


class Forked:
    """A Process. What it prints is appended to the two files; it is ended with the one that started it."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        streams: tuple[Path, Path],
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["gateway.cli", *(f"gateway.commands.{one}" for one in _COMMANDS)]
        )
        self._arguments = list(arguments)
        given = (tuple(arguments), dict(environment), Path.cwd(), streams)
        self._process = context.Process(target=_run, args=given, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        return int(self._process.pid or 0)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self._process.kill()


def launch(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> int:
    """A lab.processes.Launch of slurm-gateway."""
    return Forked(command[1:], environment, (log, log)).pid


def run_forked(
    arguments: Sequence[str], environment: Mapping[str, str], seconds: float = 60.0
) -> "subprocess.CompletedProcess[str]":
    """Raises subprocess.TimeoutExpired."""
    with TemporaryDirectory() as folder:
        printed, told = Path(folder, "stdout"), Path(folder, "stderr")
        process = Forked(arguments, environment, (printed, told))
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise subprocess.TimeoutExpired(error.cmd, seconds, told.read_bytes()) from None
        return subprocess.CompletedProcess(
            list(arguments), code, printed.read_text(), told.read_text()
        )


def _run(
    arguments: Sequence[str], environment: Mapping[str, str], cwd: Path, streams: tuple[Path, Path]
) -> None:
    """In the new process."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    for number, path in enumerate((Path(os.devnull), *streams)):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(number, mode, encoding="utf-8", closefd=False)
        for number, mode in enumerate(("r", "w", "w"))
    )
    sys.argv = ["slurm-gateway", *arguments]
    from gateway.cli import main

    main()
