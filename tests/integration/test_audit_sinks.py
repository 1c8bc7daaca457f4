"""Several sinks at once on a running gateway: readers that stop, servers that go away, and whom that concerns."""

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.gateway import audit_sink
from tests.configurations import lines_in, token_for
from tests.integration.crowd import eventually
from tests.serving import READ, Served, SlowSlurm, served

READER = """
import socket, sys
reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
reader.bind(sys.argv[1])
with open(sys.argv[2], "ab", buffering=0) as file:
    while True:
        file.write(reader.recv(1 << 20) + b"\\n")
"""


@pytest.fixture
def slurm() -> Iterator[SlowSlurm]:
    quick = SlowSlurm()
    quick.go.set()
    yield quick
    quick.close()


class SyslogReader:
    """A syslog daemon in a process of its own, so that it can be stopped."""

    def __init__(self, folder: Path) -> None:
        self.path, self.file = folder / "log", folder / "messages"
        self.file.touch()
        command = [sys.executable, "-c", READER, str(self.path), str(self.file)]
        self.process = subprocess.Popen(command)
        while not self.path.exists():
            time.sleep(0.01)

    @property
    def lines(self) -> list[dict[str, Any]]:
        messages = self.file.read_bytes().splitlines()
        return [json.loads(message[message.index(b"{") :]) for message in messages]


@pytest.fixture
def syslog(tmp_path: Path) -> Iterator[SyslogReader]:
    reader = SyslogReader(tmp_path)
    yield reader
    reader.process.kill()
    reader.process.wait()


def with_sinks(slurm: SlowSlurm, tmp_path: Path, *more: dict[str, Any]) -> dict[str, Any]:
    file = audit_sink(tmp_path / "audit.jsonl")
    rates = {"read": "1000000/second"}
    return {
        "forward": {"upstream": slurm.url},
        "limit": {"rates": rates},
        "audit": {"sinks": [file, *more]},
    }


def read(gateway: Served) -> tuple[int, float]:
    """(status, seconds) of one read."""
    began = time.monotonic()
    status = gateway.ask(READ, token_for("alice"))[0]
    return status, time.monotonic() - began


def audit_part(gateway: Served) -> dict[str, Any]:
    part: dict[str, Any] = json.loads(gateway.operations("/readyz")[1])["parts"]["audit"]
    return part


def until_granted(gateway: Served) -> None:
    eventually(lambda: read(gateway)[0] == 200)


def test_a_required_syslog_server_that_stops_reading_refuses_within_a_second_and_recovers(
    tmp_path: Path, slurm: SlowSlurm, syslog: SyslogReader
) -> None:
    sink = {"type": "syslog", "address": f"unix:{syslog.path}", "required": True}
    with served(tmp_path, with_sinks(slurm, tmp_path, sink)) as gateway:
        assert read(gateway)[0] == 200
        os.kill(syslog.process.pid, signal.SIGSTOP)
        answers = [read(gateway) for _ in range(40)]
        assert answers[-1][0] == 503
        assert max(seconds for _, seconds in answers) < 5
        assert min(read(gateway)[1] for _ in range(5)) < 0.5, (
            "once it is known, nobody waits any more"
        )
        assert not audit_part(gateway)["ok"]
        os.kill(syslog.process.pid, signal.SIGCONT)
        until_granted(gateway)
    written = [line["seq"] for line in lines_in(tmp_path / "audit.jsonl")]
    assert [line["seq"] for line in syslog.lines][: len(written) - 2] == written[:-2]


def test_a_best_effort_syslog_server_that_stops_reading_stalls_nobody(
    tmp_path: Path, slurm: SlowSlurm, syslog: SyslogReader
) -> None:
    sink = {"type": "syslog", "address": f"unix:{syslog.path}"}
    with served(tmp_path, with_sinks(slurm, tmp_path, sink)) as gateway:
        os.kill(syslog.process.pid, signal.SIGSTOP)
        answers = [read(gateway) for _ in range(40)]
        assert {status for status, _ in answers} == {200}
        assert statistics.median(seconds for _, seconds in answers) < 0.4
        assert max(seconds for _, seconds in answers) < 5
        eventually(lambda: audit_part(gateway)["detail"]["other_sinks"])
        assert audit_part(gateway)["ok"]
        os.kill(syslog.process.pid, signal.SIGCONT)
        eventually(lambda: len(syslog.lines) >= len(lines_in(tmp_path / "audit.jsonl")))


def test_a_server_that_is_away_at_the_start_keeps_nobody_from_starting(
    tmp_path: Path, slurm: SlowSlurm
) -> None:
    sink = {"type": "syslog", "address": "tcp:127.0.0.1:9"}
    with served(tmp_path, with_sinks(slurm, tmp_path, sink)) as gateway:
        assert read(gateway)[0] == 200
        assert "syslog" in gateway.log or "tcp:127.0.0.1:9" in gateway.log


@pytest.mark.parametrize("required", [True, False])
def test_a_second_file_gets_the_same_lines(
    tmp_path: Path, slurm: SlowSlurm, required: bool
) -> None:
    second = tmp_path / "second.jsonl"
    sink = audit_sink(second) | {"required": required}
    with served(tmp_path, with_sinks(slurm, tmp_path, sink)) as gateway:
        for _ in range(5):
            assert read(gateway)[0] == 200
    assert second.read_bytes() == (tmp_path / "audit.jsonl").read_bytes()


def test_only_heads_leave_the_machine_where_only_heads_shall(
    tmp_path: Path, slurm: SlowSlurm, syslog: SyslogReader
) -> None:
    sink = {"type": "syslog", "address": f"unix:{syslog.path}", "lines": "heads"}
    settings = with_sinks(slurm, tmp_path, sink)
    with served(tmp_path, settings) as gateway:
        assert read(gateway)[0] == 200
    eventually(lambda: syslog.lines)
    assert [line["event"] for line in syslog.lines] == ["head"]
    assert syslog.lines[0] == lines_in(tmp_path / "audit.jsonl")[-1]


def test_durability_can_be_switched_off_for_measuring_and_is_warned_about(
    tmp_path: Path, slurm: SlowSlurm
) -> None:
    file = {"type": "file", "path": str(tmp_path / "audit.jsonl"), "required": False}
    settings = {"forward": {"upstream": slurm.url}, "audit": {"durability": "off", "sinks": [file]}}
    with served(tmp_path, settings) as gateway:
        assert "audit.durability" in gateway.log
        assert read(gateway)[0] == 200
        assert len(gateway.records) == 1
