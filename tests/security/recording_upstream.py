"""What the gateway sends -> every byte of it, kept by connection; each whole request gets an answer."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")
_TOKEN = re.compile(rb"\r\nX-SLURM-USER-TOKEN: ([^\r]*)\r\n")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"
_REFUSED = b"HTTP/1.1 511 X\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n{}"
_PROBE = re.compile(rb"GET /slurm/v0\.0\.[0-9]+/diag ")


class RecordingUpstream:
    """A slurmrestd that reads requests in one way only. `strange` holds bytes that are no request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrived: list[bytes] = []
        self.strange: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.authority = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{self.authority}"

    def take(self) -> list[bytes]:
        """The requests since the last time, whole and in order, without the gateway's own questions (GET diag)."""
        with self._lock:
            arrived, self._arrived = self._arrived, []
        return [raw for raw in arrived if not _PROBE.match(raw)]

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        unread = b""
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                unread = self._answer(connection, unread + data)
        if unread:
            self.strange.append(unread)

    def _answer(self, connection: socket.socket, data: bytes) -> bytes:
        """Answer what is whole; the rest is returned."""
        while (head := data.find(b"\r\n\r\n") + 4) > 3:
            found = _LENGTH.search(data[:head])
            end = head + (int(found[1]) if found else 0)
            if len(data) < end:
                break
            with self._lock:
                self._arrived.append(data[:end])
            token = _TOKEN.search(data[:head])
            is_good = token is not None and token[1].count(b".") == 2
            connection.sendall(_ANSWER if is_good else _REFUSED)
            data = data[end:]
        return data


@contextmanager
def recording_upstream() -> Iterator[RecordingUpstream]:
    """A running one."""
    upstream = RecordingUpstream()
    try:
        yield upstream
    finally:
        upstream.close()
