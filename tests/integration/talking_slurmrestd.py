"""A release -> a slurmrestd beside its own that says, of each request, which of its operations it has chosen.

At its highest verbosity slurmrestd prints how it matches each path. 20.11.4 and 22.05.8 number their
templates at start and name the number; 24.11.5 and 26.05.5 print the template and the method. They
print to a terminal only (22.05.8 goes to syslog otherwise), so it is given one.
"""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lab.daemons import answers_on_port
from lab.ports import free_port
from lab.slurm import SlurmRelease

START_SECONDS = 120.0
WAIT_SECONDS = 5.0
END_SECONDS = 2.0

_NUMBERED = re.compile(rb": new path (\S+) with (?:path_)?tag (\d+)")
_ASKED = re.compile(rb"operations_router: \[[^ ]*\] ([A-Z]+) (.*)$")
_BY_NUMBER = re.compile(rb"match successful for tag (\d+) to (\[.*\])\(0x")
_BY_TEMPLATE = re.compile(rb"match successful for (\[.*?\])\(\d+, ([A-Z]+)\) to (\[.*\])\(0x")
_PARAMETER = re.compile(r"\{[^}]*\}")


@dataclass
class Choice:
    """What slurmrestd made of one request. `template` has {} for a parameter; "" where nothing fitted."""

    method: str
    path: str
    template: str = ""
    segments: list[Any] = field(default_factory=list)
    """Of the path, as slurmrestd reads them: what looks like a number or a switch is one."""
    is_handled: bool = False


class TalkingSlurmrestd:
    """`choices` grows by one for each request that was understood, in order."""

    def __init__(self, release: SlurmRelease) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.choices: list[Choice] = []
        self._numbered: dict[bytes, str] = {}
        self._moved = threading.Condition()
        arguments = (
            *("/usr/bin/env", "SLURM_JWT=daemon", "/usr/sbin/slurmrestd", "-vvvvvvvvv"),
            *("-a", "rest_auth/jwt", *release.release.slurmrestd_arguments),
            f"127.0.0.1:{self.port}",
        )
        self._command = release.layout.command(arguments, "slurmrest")
        self.start()

    def start(self) -> None:
        """At first, and again after it has ended."""
        self._terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, args=(self._terminal,), daemon=True)
        self._reader.start()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def has_ended(self) -> bool:
        """After a connection that broke: a process that dumps its core takes a moment to be gone."""
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def await_start(self) -> None:
        end = time.monotonic() + START_SECONDS
        while not answers_on_port(self.port):
            assert self.is_alive(), "slurmrestd did not start"
            assert time.monotonic() < end, "slurmrestd does not answer"
            time.sleep(0.05)

    def choice(self, number: int, *, needs_handler: bool) -> Choice | None:
        """What was said of the request with this number, once it is complete; None where nothing was said."""
        with self._moved:
            self._moved.wait_for(lambda: self._is_complete(number, needs_handler), WAIT_SECONDS)
            return self.choices[number] if len(self.choices) > number else None

    def _is_complete(self, number: int, needs_handler: bool) -> bool:
        if len(self.choices) <= number:
            return False
        return self.choices[number].is_handled or not needs_handler

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(10)
        os.close(self._terminal)

    def _read(self, terminal: int) -> None:
        rest = b""
        while True:
            try:
                data = os.read(terminal, 1 << 20)
            except OSError:  # the other end is gone
                return
            *lines, rest = (rest + data).split(b"\n")
            with self._moved:
                for line in lines:
                    self._take(line.rstrip(b"\r"))
                self._moved.notify_all()

    def _take(self, line: bytes) -> None:
        if b"match successful" in line:
            self._matched(line)
        elif b"operations_router" in line:
            if b"found callback handler" in line:
                self.choices[-1].is_handled = True
            elif asked := _ASKED.search(line):
                self.choices.append(Choice(asked[1].decode(), asked[2].decode("latin-1")))
        elif found := _NUMBERED.search(line):
            self._numbered[found[2]] = _template(found[1].decode())

    def _matched(self, line: bytes) -> None:
        choice = self.choices[-1]
        if found := _BY_NUMBER.search(line):
            choice.template = self._numbered[found[1]]
            choice.segments = json.loads(found[2])
        elif found := _BY_TEMPLATE.search(line):
            choice.template = _template("/" + "/".join(json.loads(found[1])))
            choice.segments = json.loads(found[3])


def _template(path: str) -> str:
    return _PARAMETER.sub("{}", path.rstrip("/"))


@contextmanager
def talking(release: SlurmRelease, count: int) -> Iterator[list[TalkingSlurmrestd]]:
    """So many of them; they are stopped in the end."""
    made = [TalkingSlurmrestd(release) for _ in range(count)]
    try:
        for one in made:
            one.await_start()
        yield made
    finally:
        for one in made:
            one.stop()
