"""gateway.toml with server.workers above 1 -> that many processes, kept alive, ordered about as one.

The supervisor holds the listening sockets and the pid file, and serves nothing itself. All workers accept from
the same sockets, so that one that has died costs no connection but its own; it is forked anew. Where the
supervisor dies, its workers drain and end.
"""

import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from gateway.commands.process import (
    RELOAD,
    ROTATE,
    STOP,
    Listening,
    Worker,
    prepare_worker_directory,
)
from gateway.config.gateway import Gateway
from gateway.config.load import load
from gateway.config.problem import ConfigurationError
from gateway.edges.hash_key import load_or_create_hash_key
from gateway.edges.process_file import HASH_KEY_FILE, write_outcome

_SHORT_LIFE_SECONDS: Final = 10.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_INSIST_SECONDS: Final = 15.0
"""After the time to drain, a worker that has not ended is killed."""
_SIGNALS: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

_log = logging.getLogger(__name__)

Serve = Callable[[Worker, Path, Mapping[str, str], Gateway], int]


@dataclass(slots=True)
class _Running:
    """One worker's process. `heard` are bytes of a line that is not whole yet."""

    number: int
    pid: int
    channel: socket.socket
    started: float
    has_begun: bool = False
    heard: bytes = b""


@dataclass(slots=True)
class _Reloading:
    """A reload, until every worker that was asked has answered or died."""

    started: int
    awaited: set[int]
    generation: int = 0
    problems: list[str] = field(default_factory=list)


class Supervisor:
    """`serve` runs in each worker and returns its exit code."""

    def __init__(
        self, config: Path, environ: Mapping[str, str], gateway: Gateway, serve: Serve
    ) -> None:
        self._config = config
        self._environ = environ
        self._gateway = gateway
        self._serve = serve
        self._selector = selectors.DefaultSelector()
        self._running: dict[int, _Running] = {}
        self._due: dict[int, float] = {}
        """When a worker that has died is started again."""
        self._pauses: dict[int, float] = {}
        self._reloading: _Reloading | None = None
        self._is_stopping = False
        self._kill_at = float("inf")
        self._exit_code = 0

    def run(self) -> int:
        """Until all workers have ended; the exit code. Raises ListenError, OSError."""
        server = self._gateway.server
        load_or_create_hash_key(server.state_directory / HASH_KEY_FILE)
        self._listening = Listening.of(server)
        with self._signals():
            for number in range(1, server.workers + 1):
                self._start(number)
            while self._running or self._due:
                self._turn()
        self._listening.close()
        return self._exit_code

    # workers

    def _start(self, number: int) -> None:
        """Fork: nothing runs here that a fork would break off, no thread and no event loop."""
        prepare_worker_directory(self._gateway, number)
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            os._exit(self._be_worker(number, theirs, ours))
        theirs.close()
        self._running[number] = _Running(number, pid, ours, time.monotonic())
        self._selector.register(ours, selectors.EVENT_READ, number)

    def _be_worker(self, number: int, channel: socket.socket, supervisors: socket.socket) -> int:
        """In the new process."""
        try:
            signal.set_wakeup_fd(-1)
            supervisors.close()
            for other in self._running.values():
                other.channel.close()
            self._selector.close()
            worker = Worker(number, channel, self._listening.inherited())
            return self._serve(worker, self._config, self._environ, self._gateway)
        except BaseException as error:  # noqa: BLE001 (whatever is above belongs to the supervisor)
            click.echo(f"Worker {number} does not start: {error}", err=True)
            return 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()

    def _reap(self) -> None:
        """Every child that has ended."""
        for worker in list(self._running.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Running, code: int) -> None:
        number = worker.number
        self._hear(worker)  # its last words
        self._selector.unregister(worker.channel)
        worker.channel.close()
        del self._running[number]
        self._answered(number, [f"worker {number} has ended"])
        if self._is_stopping:
            return
        if not worker.has_begun and number not in self._pauses:
            self._exit_code = 1  # at the first start everything must be right
            self._stop()
            return
        is_short = time.monotonic() - worker.started < _SHORT_LIFE_SECONDS
        last = self._pauses.get(number, 0.0)
        pause = min(max(1.0, 2 * last), _LONGEST_PAUSE_SECONDS) if is_short else 0.0
        self._pauses[number] = pause
        self._due[number] = time.monotonic() + pause
        _log.error("worker %d has ended (%d); it is started again in %g s", number, code, pause)

    # orders

    def _turn(self) -> None:
        """One wait, and whatever has come of it."""
        now = time.monotonic()
        for number in [one for one, when in self._due.items() if when <= now]:
            del self._due[number]
            try:
                self._start(number)
            except OSError as error:  # the others go on
                _log.error("worker %d cannot be started: %s", number, error.strerror)
                self._due[number] = now + _LONGEST_PAUSE_SECONDS
        waits = [when - now for when in (*self._due.values(), self._kill_at)]
        seconds = min(waits, default=60.0)
        for key, _ in self._selector.select(max(0.0, min(seconds, 60.0))):
            if key.data == 0:
                self._signalled(key.fileobj.recv(64))  # type: ignore[union-attr]  # our own socket
            elif key.data in self._running:
                self._hear(self._running[key.data])
        self._reap()
        if time.monotonic() >= self._kill_at:
            self._kill_at = float("inf")
            for worker in self._running.values():
                _log.error("worker %d does not end and is killed", worker.number)
                os.kill(worker.pid, signal.SIGKILL)

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            match number:
                case signal.SIGTERM | signal.SIGINT:
                    self._stop()
                case signal.SIGHUP:
                    self._reload()
                case signal.SIGUSR1:
                    self._order(ROTATE)

    def _order(self, order: bytes) -> None:
        for worker in self._running.values():
            with suppress(OSError):  # it has just died
                worker.channel.sendall(order)

    def _stop(self) -> None:
        """Asked again, the workers cut off what still runs."""
        self._is_stopping = True
        self._due.clear()
        self._kill_at = time.monotonic() + self._gateway.server.drain_seconds + _INSIST_SECONDS
        self._order(STOP)

    def _reload(self) -> None:
        """Every worker prepares and adopts by itself; the outcome is told when the last has answered."""
        self._reloading = _Reloading(time.monotonic_ns(), set(self._running))
        self._order(RELOAD)

    def _hear(self, worker: _Running) -> None:
        """Lines of JSON."""
        with suppress(BlockingIOError, ConnectionResetError):
            worker.heard += worker.channel.recv(1 << 20, socket.MSG_DONTWAIT)
        *lines, worker.heard = worker.heard.split(b"\n")
        for line in lines:
            told: dict[str, Any] = json.loads(line)
            if told["event"] == "begun":
                self._begun(worker)
            elif self._reloading is not None and told["started"] >= self._reloading.started:
                # what is told of an earlier reload says nothing of this one
                self._reloading.generation = told["generation"]
                self._answered(worker.number, told["problems"])

    def _begun(self, worker: _Running) -> None:
        worker.has_begun = True
        self._pauses.setdefault(worker.number, 0.0)
        _log.info("worker %d serves (pid %d)", worker.number, worker.pid)

    def _answered(self, number: int, problems: list[str]) -> None:
        """A worker's word on the reload; where it was the last one awaited, the outcome."""
        reloading = self._reloading
        if reloading is None or number not in reloading.awaited:
            return
        reloading.awaited.discard(number)
        new = [problem for problem in problems if problem not in reloading.problems]
        reloading.problems += new
        if reloading.awaited:
            return
        self._reloading = None
        if not reloading.problems:
            self._take_over(reloading)
        write_outcome(
            self._gateway.server.state_directory,
            reloading.started,
            reloading.generation,
            reloading.problems,
            self._config,
        )

    def _take_over(self, reloading: _Reloading) -> None:
        """What a worker that dies later is started with."""
        try:
            self._gateway = load(self._config, self._environ)
        except ConfigurationError as error:
            reloading.problems += map(str, error.problems)
            return
        for worker in self._running.values():
            if worker.started * 1e9 > reloading.started:  # forked meanwhile, with what was in force
                with suppress(OSError):
                    worker.channel.sendall(RELOAD)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Signals as bytes of a socket, beside the workers' words."""
        here, there = socket.socketpair()
        for one in (here, there):
            one.setblocking(False)
        signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        self._selector.register(here, selectors.EVENT_READ, 0)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.unregister(here)
            here.close()
            there.close()
