"""A relay in front of the real slurmrestd that breaks chosen submissions -> answers that never arrive."""

import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from enum import Enum

_BLOCK_BYTES = 65_536


class Break(Enum):
    """What becomes of one submission."""

    BEFORE = "slurmrestd never sees it"
    AFTER = "slurmrestd takes it, and its answer is thrown away"
    HELD_BEFORE = "it is held, and thrown away when the relay is told to go on"
    HELD_AFTER = "slurmrestd takes it, and its answer is held until the relay is told to go on"


class Breaking:
    """`breaks` are used up in order, one a submission; everything else passes. `held` tells of one held."""

    def __init__(self, port: int) -> None:
        self.breaks: deque[Break] = deque()
        self.held = threading.Event()
        self.go_on = threading.Event()
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, suppress(OSError):
            far = socket.create_connection(("127.0.0.1", self._port))
            with far:
                fate: list[Break] = []
                threading.Thread(target=self._back, args=(far, near, fate), daemon=True).start()
                while data := near.recv(_BLOCK_BYTES):
                    if data.startswith(b"POST ") and self.breaks:
                        fate.append(self.breaks.popleft())
                    if fate and fate[0] in (Break.BEFORE, Break.HELD_BEFORE):
                        self._hold(fate[0])
                        break
                    far.sendall(data)
                _reset(near)

    def _back(self, far: socket.socket, near: socket.socket, fate: list[Break]) -> None:
        with suppress(OSError):
            while data := far.recv(_BLOCK_BYTES):
                if fate:
                    self._hold(fate[0])
                    if fate.pop() is not Break.HELD_AFTER:
                        break
                near.sendall(data)
        with suppress(OSError):
            _reset(near)
            near.shutdown(socket.SHUT_RDWR)

    def _hold(self, fate: Break) -> None:
        if fate in (Break.HELD_BEFORE, Break.HELD_AFTER):
            self.held.set()
            self.go_on.wait(60)

    def close(self) -> None:
        """No new connections; what is held goes on."""
        self.go_on.set()
        self._listener.close()


def _reset(connection: socket.socket) -> None:
    """Let the close be a reset, as a killed process leaves it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
