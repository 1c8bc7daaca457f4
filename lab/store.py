"""A folder -> a real Valkey or Redis server: a UNIX socket, a loopback port, a password, and what it keeps on disk."""

from __future__ import annotations

import secrets
import shutil
import signal
import socket
from pathlib import Path

from lab.places import write_private
from lab.ports import free_port
from lab.processes import Recorded, end

PROGRAMS = ("valkey-server", "redis-server")
USER = "slurm-gateway"
RIGHTS = "~slurm-gateway:* +@all -@admin -@dangerous"
"""What docs/scale.md advises."""
_SECONDS = 120.0


def program() -> str | None:
    """Whichever server this machine has."""
    found = (shutil.which(name, path="/usr/sbin:/usr/bin") for name in PROGRAMS)
    return next((path for path in found if path), None)


class StoreServer:
    """One server with a folder of its own. With `certificates` its port speaks TLS."""

    def __init__(self, folder: Path, certificates: tuple[Path, Path, Path] | None = None) -> None:
        self.folder = folder
        self.port = free_port()
        self.socket = folder / "store.sock"
        self.log = folder / "store.log"
        self.password_file = folder / "store.password"
        self._configuration = folder / "store.conf"
        self._certificates = certificates
        if not self.password_file.exists():
            write_private(self.password_file, f"{secrets.token_hex(16)}\n".encode())

    @property
    def address(self) -> str:
        """As `store.address` has it."""
        kind = "tls:localhost" if self._certificates else "tcp:127.0.0.1"
        return f"{kind}:{self.port}"

    @property
    def process(self) -> Recorded:
        """Debian's redis-server is a link to a program that is called otherwise."""
        return Recorded(self.folder / "pid", Path(program() or "redis").name[:5], "the store")

    def start(self) -> None:
        """Start it and wait until it answers. LabError with its log's end."""
        write_private(self._configuration, self._settings().encode())
        self.process.start([program() or PROGRAMS[-1], str(self._configuration)], self.log)
        self.process.await_answer(self.answers, _SECONDS, self.log)

    def _settings(self) -> str:
        """In a file, because others may read command lines."""
        password = self.password_file.read_text().strip()
        lines = [
            "daemonize no",
            f"dir {self.folder}",
            f"unixsocket {self.socket}",
            "unixsocketperm 700",
            "bind 127.0.0.1",
            f"requirepass {password}",
            f"user {USER} on >{password} {RIGHTS}",
            'save ""',
            "appendonly yes",
            "appendfsync always",
        ]
        if self._certificates is None:
            return "\n".join([*lines, f"port {self.port}", ""])
        authority, certificate, key = self._certificates
        lines += [f"tls-port {self.port}", "port 0", "tls-auth-clients no"]
        lines += [f"tls-cert-file {certificate}", f"tls-key-file {key}"]
        return "\n".join([*lines, f"tls-ca-cert-file {authority}", ""])

    def answers(self) -> bool:
        """Whether it takes the password and has read back what it kept."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(2.0)
                connection.connect(str(self.socket))
                password = self.password_file.read_bytes().strip()
                connection.sendall(b"AUTH %b\r\nPING\r\n" % password)
                said = b""
                while said.count(b"\r\n") < 2:
                    heard = connection.recv(100)
                    if not heard:
                        return False
                    said += heard
                return said == b"+OK\r\n+PONG\r\n"
        except OSError:
            return False

    def kill(self) -> None:
        """As a crash does."""
        pid = self.process.pid()
        if pid is not None:
            end(pid, first=signal.SIGKILL)

    def stop(self) -> None:
        """As a service manager does."""
        self.process.stop()
