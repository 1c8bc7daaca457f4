"""A process that serves, alone or as one of several workers -> where its settings, sockets and orders come from."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from gateway.app_workers import part_of_worker, worker_directory
from gateway.config.gateway import Gateway
from gateway.config.server import Server
from gateway.edges.process_file import write_outcome
from gateway.web.listening import Bound, bind

STOP, RELOAD, ROTATE = b"T", b"H", b"U"
OPERATIONS_SOCKET = "operations.sock"


class Orders(NamedTuple):
    """What a process does when it is told to."""

    stop: Callable[[], None]
    reload: Callable[[], None]
    rotate: Callable[[], None]


class Listening(NamedTuple):
    """The sockets of one process. `private` is where its siblings ask it."""

    public: Bound
    operations: Bound | None
    forward_auth: Bound | None
    private: Bound | None = None

    @classmethod
    def of(cls, server: Server) -> "Listening":
        """All that are configured. Raises ListenError."""
        wanted = (server.operations_listen, server.forward_auth_listen)
        public = bind(server.listen, server.socket_mode)
        return cls(public, *(bind(one, server.socket_mode) if one else None for one in wanted))

    def inherited(self) -> "Listening":
        """The same in a process that was forked."""
        return Listening(*(bound.inherited() if bound else None for bound in self))  # type: ignore[arg-type]  # public is there

    def close(self) -> None:
        """And remove the files of UNIX sockets."""
        for bound in filter(None, self):
            bound.close()


class Process(Protocol):
    """Where a process that serves gets what it needs, and whom it tells."""

    machine_directory: Path | None
    speaks_for_all: bool

    def own_part(self, config: Gateway) -> Gateway: ...

    def bind(self, server: Server) -> Listening: ...

    def siblings(self, server: Server) -> dict[int, Path]: ...

    def obey(self, orders: Orders) -> None: ...

    def has_begun(self) -> None: ...

    def has_reloaded(
        self, started: int, generation: int, problems: Sequence[str], config: Path
    ) -> None: ...


class Alone:
    """The one process of a gateway; signals tell it what to do."""

    speaks_for_all = True
    machine_directory: Path | None = None

    def __init__(self, state_directory: Path) -> None:
        self._state_directory = state_directory

    def own_part(self, config: Gateway) -> Gateway:
        """All of it."""
        return config

    def bind(self, server: Server) -> Listening:
        """Raises ListenError."""
        return Listening.of(server)

    def siblings(self, server: Server) -> dict[int, Path]:  # noqa: ARG002 (the Protocol's)
        """None."""
        return {}

    def obey(self, orders: Orders) -> None:
        """SIGTERM and SIGINT stop it, SIGHUP reloads, SIGUSR1 rotates the audit."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, orders.stop)
        loop.add_signal_handler(signal.SIGHUP, orders.reload)
        loop.add_signal_handler(signal.SIGUSR1, orders.rotate)

    def has_begun(self) -> None:
        """Nobody waits for it."""

    def has_reloaded(
        self, started: int, generation: int, problems: Sequence[str], config: Path
    ) -> None:
        """Tell whoever asked for it."""
        write_outcome(self._state_directory, started, generation, problems, config)


class Worker:
    """One of several processes. Its supervisor orders it about over a socket, and its end is an order to stop.

    Signals are not for it: a terminal and a service manager send them to all processes of a group,
    and a second SIGTERM would cut off what the first one let finish.
    """

    def __init__(self, number: int, channel: socket.socket, listening: Listening) -> None:
        self.number = number
        self.machine_directory: Path | None = None
        self.speaks_for_all = number == 1
        self._channel = channel
        self._listening = listening

    def own_part(self, config: Gateway) -> Gateway:
        """Its part of connections and queues; its own state and audit."""
        self.machine_directory = config.server.state_directory
        return part_of_worker(config, self.number)

    def bind(self, server: Server) -> Listening:
        """What the supervisor has bound, and a socket for its siblings."""
        path = server.state_directory / OPERATIONS_SOCKET
        path.unlink(missing_ok=True)  # of a worker before it; the directory is this one's
        return self._listening._replace(private=bind(f"unix:{path}", 0o600))

    def siblings(self, server: Server) -> dict[int, Path]:
        """The sockets of all workers, its own among them, by number."""
        folder = server.state_directory.parent
        return {
            number: folder / f"worker-{number}" / OPERATIONS_SOCKET
            for number in range(1, server.workers + 1)
        }

    def obey(self, orders: Orders) -> None:
        """One byte an order."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, _leave_be)  # unlike SIG_IGN, it is not what commands begin with
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        by_byte = {STOP: orders.stop, RELOAD: orders.reload, ROTATE: orders.rotate}
        loop = asyncio.get_running_loop()

        def hear() -> None:
            heard = self._channel.recv(64)
            if not heard:  # the supervisor is gone
                loop.remove_reader(self._channel)
                orders.stop()
            for order in heard:
                by_byte[bytes([order])]()

        loop.add_reader(self._channel, hear)

    def has_begun(self) -> None:
        """It listens."""
        self._tell({"event": "begun"})

    def has_reloaded(
        self, started: int, generation: int, problems: Sequence[str], config: Path
    ) -> None:
        """The supervisor tells whoever asked."""
        facts = {"started": started, "generation": generation, "problems": list(problems)}
        self._tell({"event": "reloaded", **facts, "config": str(config)})

    def _tell(self, facts: dict[str, object]) -> None:
        """A line of JSON; the supervisor always reads, and a dead one needs no word."""
        try:
            self._channel.sendall(json.dumps(facts).encode() + b"\n")
        except OSError:
            return


def _leave_be(_number: int, _frame: object) -> None:
    """The supervisor says what is to be done."""


def prepare_worker_directory(config: Gateway, number: int) -> None:
    """Raises OSError."""
    path = worker_directory(config, number)
    path.mkdir(mode=0o700, exist_ok=True)
    os.chmod(path, 0o700)  # noqa: PTH101 (umask)
