"""Settings -> `slurm-gateway serve` as a process of its own, without Slurm, an identity provider or the lab."""

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import trustme

from lab.ports import free_port
from lab.submission import CANARY
from lab.toml_text import Settings, merged, to_toml
from tests.configurations import ends_in, lines_in, usable
from tests.forked import Forked, Process, run_forked

PROGRAM = Path(sys.executable).parent / "slurm-gateway"
START_SECONDS = 120.0
PATIENCE_SECONDS = 60.0
"""For what comes at once on a machine that is not busy."""
AUTHORITY = trustme.CA()
PROBLEM = "application/problem+json"
READ = "/slurm/v0.0.42/diag"
ENVIRONMENT = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}


class Served:
    """One gateway in a folder. It listens on free ports unless the changes say where."""

    def __init__(self, folder: Path, changes: Settings | None = None) -> None:
        self.folder = folder
        self.port, self.operations_port = free_port(), free_port()
        base = {
            "server": {
                "listen": f"127.0.0.1:{self.port}",
                "operations_listen": f"127.0.0.1:{self.operations_port}",
                "drain_seconds": 10,
            },
            "map_user": {"must_exist": False},
        }
        self.settings = usable(folder, merged(base, changes or {}))
        self.file = folder / "gateway.toml"
        self.log_file = folder / "gateway.log"
        self.process: Process | None = None
        self.write()

    def write(self, changes: Settings | None = None) -> None:
        """The configuration file, with changes laid over what it was."""
        self.settings = merged(self.settings, changes or {})
        self.file.write_text(to_toml(self.settings))

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it and wait until it answers."""
        self.log_file.write_bytes(b"")
        self.process = Forked(
            ["serve", "--config", str(self.file)],
            {**ENVIRONMENT, **(environment or {})},
            (self.log_file, self.log_file),
        )
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self.process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Another command with the same configuration file."""
        return run_forked([*arguments, "--config", str(self.file)], ENVIRONMENT)

    def answers(self) -> bool:
        """Whether /healthz answers."""
        try:
            return self.operations("/healthz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def operations(self, path: str) -> tuple[int, bytes]:
        """(status, body) from the operations listener."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.operations_port, timeout=PATIENCE_SECONDS
        )
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        keep_answer(self.folder, body)
        return answer.status, body

    def connect(self, tls: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        """A connection of its own to the public listener."""
        if tls is not None:
            return http.client.HTTPSConnection(
                "localhost", self.port, context=tls, timeout=PATIENCE_SECONDS
            )
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)

    def ask(
        self, path: str, token: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """(status, headers in small letters, body) of one GET."""
        connection = self.connect()
        try:
            answer = ask_on(connection, path, token, **headers)
        finally:
            connection.close()
        if answer[1].get("content-type") == PROBLEM:
            keep_answer(self.folder, repr(answer).encode())
        return answer

    @property
    def log(self) -> str:
        """Everything it has printed."""
        return self.log_file.read_text()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The last record of every request, the oldest first."""
        return ends_in(self.folder / "audit.jsonl")

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The audit, line by line, in all of its files that are not compressed.

        Only of a gateway that runs the last line may be there by half.
        """
        is_running = self.process is not None and self.process.poll() is None
        done = [
            line for file in sorted(self.folder.glob("audit-*.jsonl")) for line in lines_in(file)
        ]
        return [*done, *lines_in(self.folder / "audit.jsonl", is_growing=is_running)]

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self.process is not None
        return self.process.pid

    def tell(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def stop(
        self, number: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE_SECONDS
    ) -> int:
        """Signal it and wait for the end; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                self.operations("/metrics")
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def await_log(self, text: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until the log holds a text."""
        end = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < end, f"{text!r} never came:\n{self.log}"
            time.sleep(0.02)


def keep_answer(folder: Path, content: bytes) -> None:
    """What a gateway itself has said, beside what it wrote: it is searched for secrets at the end (canaries.py)."""
    with (folder / "answers").open("ab") as file:
        file.write(content + b"\n")


def ask_on(
    connection: http.client.HTTPConnection, path: str, token: str | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One GET on a connection that stays open if both sides want it."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent.setdefault("Cookie", f"session={CANARY}")
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    connection.request("GET", path, headers=sent)
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


@contextmanager
def served(folder: Path, changes: Settings | None = None) -> Iterator[Served]:
    """A running gateway; it is stopped in the end, whatever happens."""
    gateway = Served(folder, changes)
    try:
        gateway.start()
        yield gateway
    finally:
        if gateway.process is not None:
            try:
                gateway.stop()
            except subprocess.TimeoutExpired:
                gateway.process.kill()
                gateway.process.wait()
                raise


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Instead of a TCP connection."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def write_pair(folder: Path) -> Settings:
    """A certificate and key for localhost, and the settings that name them."""
    leaf = AUTHORITY.issue_cert("localhost")
    (folder / "tls.crt").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    key = folder / "tls.key"
    key.touch(0o600)
    key.write_bytes(leaf.private_key_pem.bytes())
    return {
        "server": {
            "tls_certificate_file": str(folder / "tls.crt"),
            "tls_key_file": str(key),
        }
    }


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


class SlowSlurm:
    """A slurmrestd in a thread that answers when it is told to, one connection after another."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.asked = threading.Event()
        self.go = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # a gateway that was killed reads no answer
            if b"\r\n\r\n" in connection.recv(65536):
                self.asked.set()
                self.go.wait(2 * PATIENCE_SECONDS)
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                connection.sendall(head + b"Content-Length: 10\r\n\r\n" + b'{"late":1}')
                connection.recv(1)

    def close(self) -> None:
        self.go.set()
        self.listener.close()


class Asking:
    """One GET in a thread."""

    def __init__(self, gateway: Served, token: str) -> None:
        self.outcome: Any = None
        self._thread = threading.Thread(target=self._ask, args=(gateway, token), daemon=True)
        self._thread.start()

    def _ask(self, gateway: Served, token: str) -> None:
        try:
            self.outcome = gateway.ask(READ, token)
        except OSError as error:
            self.outcome = error

    def wait(self) -> Any:
        self._thread.join(PATIENCE_SECONDS + 10)
        return self.outcome
