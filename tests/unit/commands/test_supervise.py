"""What workers tell of reloads, as the supervisor takes it; whole processes are in integration/test_workers.py."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.commands.process import RELOAD
from gateway.commands.supervise import Supervisor, _Running
from gateway.edges.process_file import OUTCOME_FILE
from tests.configurations import configuration, write_configuration


class World:
    """A supervisor with workers that are sockets."""

    def __init__(self, state: Path) -> None:
        changes = {"server": {"state_directory": str(state)}}
        self.outcome = state / OUTCOME_FILE
        file = write_configuration(state, changes)
        self.supervisor = Supervisor(file, {}, configuration(changes), lambda *_: 0)
        self.workers: list[socket.socket] = []

    def add(self) -> _Running:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.workers.append(theirs)
        number = len(self.workers)
        made = _Running(number, 0, ours, time.monotonic())
        self.supervisor._running[number] = made
        return made

    def tell(self, worker: _Running, started: int, problems: list[str]) -> None:
        told: dict[str, Any] = {"event": "reloaded", "started": started, "generation": 2}
        line = json.dumps({**told, "problems": problems}).encode() + b"\n"
        self.workers[worker.number - 1].sendall(line)
        self.supervisor._hear(worker)

    def reload(self) -> int:
        self.supervisor._reload()
        reloading = self.supervisor._reloading
        assert reloading is not None
        return reloading.started

    def close(self) -> None:
        for one in (*self.workers, *(run.channel for run in self.supervisor._running.values())):
            one.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_what_is_told_of_an_earlier_reload_says_nothing_of_this_one(world: World) -> None:
    worker = world.add()
    first = world.reload()
    second = world.reload()
    world.tell(worker, first, [])
    assert not world.outcome.exists()
    world.tell(worker, second, ["a mistake"])
    outcome = json.loads(world.outcome.read_text())
    assert (outcome["started"], outcome["problems"]) == (second, ["a mistake"])


def test_a_worker_that_was_forked_during_a_reload_is_told_to_reload(world: World) -> None:
    worker = world.add()
    started = world.reload()
    world.add()
    assert world.workers[0].recv(10) == RELOAD
    world.tell(worker, started, [])
    assert world.workers[1].recv(10) == RELOAD
