"""Audit lines as syslog messages, to servers that are really there."""

import re
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.edges.audit_syslog import Server, SyslogWriter, counted, make_tls

LINE = b'{"seq":1,"chain":"00","event":"begin","time":"2027-01-15T08:00:00.250000Z","user":"alice","mac":"00"}\n'
HEAD = LINE.replace(b'"begin"', b'"head"')
RFC_5424 = re.compile(
    rb"<110>1 2027-01-15T08:00:00\.250000Z [\x21-\x7e]{1,255} slurm-gateway \d{1,128} (begin|head) - (\{.*\})"
)


class Listening:
    """A syslog server with one connection after another. `read` gives all that has come so far."""

    def __init__(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self.listener, self.tls = listener, tls
        self.data = b""
        self.connections: list[socket.socket] = []
        self.changed = threading.Condition()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
                if self.tls is not None:
                    connection = self.tls.wrap_socket(connection, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self.connections.append(connection)
            with connection:
                self._read(connection)

    def _read(self, connection: socket.socket) -> None:
        while True:
            try:
                data = connection.recv(65536)
            except OSError:
                return
            if not data:
                return
            with self.changed:
                self.data += data
                self.changed.notify()

    def messages(self, count: int) -> list[bytes]:
        """The first messages, by their counts."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(split(self.data)) >= count, 60)
        return split(self.data)


def split(data: bytes) -> list[bytes]:
    found = []
    while b" " in data:
        count, _, rest = data.partition(b" ")
        found.append(rest[: int(count)])
        data = rest[int(count) :]
    return found


@pytest.fixture
def tcp() -> Iterator[Listening]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Listening(listener)


Open = Callable[..., SyslogWriter]


@pytest.fixture
def writer_to() -> Iterator[Open]:
    """Makes writers, and closes them in the end."""
    opened: list[SyslogWriter] = []

    def open_one(address: str, **options: Any) -> SyslogWriter:
        settings = {"facility": 13, "only_heads": False, "timeout_seconds": 1.0, **options}
        opened.append(SyslogWriter(Server.read(address), **settings))
        return opened[-1]

    yield open_one
    for writer in opened:
        writer.close()


def address_of(there: Listening, kind: str = "tcp") -> str:
    return f"{kind}:127.0.0.1:{there.listener.getsockname()[1]}"


def test_a_message_is_what_the_standard_says_and_holds_the_line_as_it_is(writer_to: Open) -> None:
    message = writer_to("tcp:h:1").message(LINE)
    found = RFC_5424.fullmatch(message)
    assert found is not None
    assert (found[1], found[2] + b"\n") == (b"begin", LINE)
    assert counted(message) == b"%d %b" % (len(message), message)


def test_lines_arrive_over_tcp_and_leave_the_queue(tcp: Listening, writer_to: Open) -> None:
    lines = deque([LINE, HEAD, LINE])
    writer_to(address_of(tcp)).write(lines)
    assert not lines
    events = [RFC_5424.fullmatch(message) for message in tcp.messages(3)]
    assert [found and found[1] for found in events] == [b"begin", b"head", b"begin"]


def test_only_heads_go_out_where_only_heads_shall(tcp: Listening, writer_to: Open) -> None:
    forged = LINE.replace(b"alice", b'\\"event\\":\\"head\\",')
    lines = deque([LINE, forged, HEAD])
    writer_to(address_of(tcp), only_heads=True).write(lines)
    assert not lines
    (message,) = tcp.messages(1)
    assert b'"event":"head"' in message


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_lines_arrive_over_a_unix_socket_of_either_kind(
    tmp_path: Path, kind: int, writer_to: Open
) -> None:
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind(str(tmp_path / "log"))
        if kind == socket.SOCK_STREAM:
            listener.listen()
        writer_to(f"unix:{tmp_path}/log").write(deque([LINE]))
        if kind == socket.SOCK_STREAM:
            connection, _ = listener.accept()
            with connection:
                (message,) = split(connection.recv(65536))
        else:
            message = listener.recv(65536)
    assert RFC_5424.fullmatch(message)


def test_a_server_that_was_restarted_is_connected_to_again_without_losing_a_line(
    tcp: Listening, writer_to: Open
) -> None:
    writer = writer_to(address_of(tcp))
    writer.write(deque([LINE]))
    tcp.messages(1)
    tcp.connections[0].shutdown(socket.SHUT_RDWR)
    tcp.connections[0].close()
    writer.write(deque([HEAD]))
    assert b'"head"' in tcp.messages(2)[1]


@pytest.mark.parametrize("address", ["tcp:127.0.0.1:9", "unix:/nonexistent/log"])
def test_a_server_that_is_not_there_leaves_the_lines_in_place(
    address: str, writer_to: Open
) -> None:
    lines = deque([LINE, LINE])
    with pytest.raises(OSError):  # noqa: PT011 (each has its own errno)
        writer_to(address).write(lines)
    assert len(lines) == 2


def test_a_server_that_does_not_read_is_given_up(tmp_path: Path, writer_to: Open) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "log"))
        writer = writer_to(f"unix:{tmp_path}/log", timeout_seconds=0.1)
        lines = deque([LINE] * 2000)
        with pytest.raises(TimeoutError):
            writer.write(lines)
        assert lines


# ---- TLS

CA = trustme.CA()


@pytest.fixture
def tls(request: pytest.FixtureRequest) -> Iterator[Listening]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert(getattr(request, "param", "127.0.0.1")).configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield Listening(listener, context)


@pytest.fixture
def trusting(tmp_path: Path) -> Callable[[], ssl.SSLContext]:
    CA.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return lambda: make_tls(tmp_path / "ca.pem", None, None)


def test_lines_arrive_over_tls(
    tls: Listening, trusting: Callable[[], ssl.SSLContext], writer_to: Open
) -> None:
    writer = writer_to(address_of(tls, "tls"), tls=trusting())
    for _ in range(3):
        writer.write(deque([LINE]))
    assert len(tls.messages(3)) == 3
    assert len(tls.connections) == 1


@pytest.mark.parametrize("tls", ["other.example.org"], indirect=True)
def test_a_server_of_another_name_gets_nothing(
    tls: Listening, trusting: Callable[[], ssl.SSLContext], writer_to: Open
) -> None:
    lines = deque([LINE])
    with pytest.raises(ssl.SSLCertVerificationError):
        writer_to(address_of(tls, "tls"), tls=trusting()).write(lines)
    assert (len(lines), tls.data) == (1, b"")


def test_a_server_that_no_authority_vouches_for_gets_nothing(
    tls: Listening, writer_to: Open
) -> None:
    lines = deque([LINE])
    with pytest.raises(ssl.SSLCertVerificationError):
        writer_to(address_of(tls, "tls"), tls=make_tls(None, None, None)).write(lines)
    assert (len(lines), tls.data) == (1, b"")
