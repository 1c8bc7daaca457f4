"""(checkout, position) -> loopback ports that no other checkout and no other program uses."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

FIRST, LAST = 20_000, 32_000
"""Below the ports that Linux gives to outgoing connections (32768 and up)."""
OF_TESTS = range(10_000, FIRST)
BLOCK = 10
BLOCKS = (LAST - FIRST) // BLOCK


def is_free(port: int) -> bool:
    """Whether a daemon could listen here now, on every address."""
    with socket.socket() as probe:
        # As the daemons do; without it connections in TIME_WAIT would look like a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104 - slurmdbd binds to every address
        except OSError:
            return False
    return True


def _candidates(folder: Path) -> Iterator[int]:
    start = int.from_bytes(hashlib.sha256(str(folder).encode()).digest()[:4], "big")
    for step in range(BLOCKS):
        yield FIRST + (start + step) % BLOCKS * BLOCK


def choose_ports(folder: Path, names: tuple[str, ...]) -> dict[str, int]:
    """The ports remembered in a folder if they are still free; otherwise a free block, which is remembered.

    Ask only while nothing of one's own listens. The search starts at a place given by the folder's path, so
    that two checkouts that start at the same moment look in different places.
    """
    memory = folder / "ports.json"
    if memory.exists():
        remembered: dict[str, int] = json.loads(memory.read_text())
        if tuple(remembered) == names and all(map(is_free, remembered.values())):
            return remembered
    for base in _candidates(folder):
        ports = {name: base + at for at, name in enumerate(names)}
        if all(map(is_free, ports.values())):
            folder.mkdir(parents=True, exist_ok=True)
            draft = memory.with_name(f"ports.json.{os.getpid()}")
            draft.write_text(json.dumps(ports))
            draft.replace(memory)
            return ports
    raise OSError(f"no {len(names)} free ports between {FIRST} and {LAST}")


def remembered_ports(folder: Path) -> dict[str, int]:
    """The ports chosen at the last start; empty before the first."""
    memory = folder / "ports.json"
    return dict(json.loads(memory.read_text())) if memory.exists() else {}


def free_port() -> int:
    """One port that was free a moment ago, for a server that lives as long as a test.

    One of the system's choice could be that of the next connection that goes out, while the server restarts. Nobody
    else is given the same one until all the others have had their turn: it may be seconds before the server listens.
    """
    with _turns() as turns:
        for _ in OF_TESTS:
            turn = int(turns.read() or "0")
            turns.seek(0)
            turns.truncate()
            turns.write(str(turn + 1))
            turns.seek(0)
            port = OF_TESTS[turn % len(OF_TESTS)]
            if is_free(port):
                return port
    raise OSError(f"no free port between {OF_TESTS.start} and {OF_TESTS.stop}")


@contextmanager
def _turns() -> Iterator[TextIO]:
    """How many ports this user's programs have been given so far; one of them at a time may count on."""
    path = Path(tempfile.gettempdir(), f"slurm-gateway-ports-{os.getuid()}")
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "r+") as turns:
        fcntl.flock(turns, fcntl.LOCK_EX)
        yield turns
