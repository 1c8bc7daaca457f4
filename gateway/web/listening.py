""" "host:port" or "unix:/path" -> a bound socket; a dead gateway's UNIX socket is cleared away."""

import errno
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path

_ANSWER_SECONDS = 2.0


class ListenError(Exception):
    """The address cannot be listened on; the text says why."""


class Bound:
    """A bound socket. `close` also removes the UNIX socket's file, if it is still this one's."""

    def __init__(self, listener: socket.socket, path: Path | None = None) -> None:
        self.socket = listener
        self._path = path
        self._inode = path.lstat().st_ino if path else 0

    @property
    def address(self) -> str:
        """As the configuration writes it, with the real port where it asked for port 0."""
        if self._path is not None:
            return f"unix:{self._path}"
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Stop listening; a successor's socket file stays."""
        self.socket.close()
        if self._path is None:
            return
        try:
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            return

    def inherited(self) -> "Bound":
        """The same for a process that was forked: it stops listening for itself alone."""
        return _Inherited(self.socket, self.address)


class _Inherited(Bound):
    """Somebody else's socket, and its file stays when this process ends."""

    def __init__(self, listener: socket.socket, address: str) -> None:
        super().__init__(listener)
        self._address = address

    @property
    def address(self) -> str:
        """As it was bound."""
        return self._address


def bind(listen: str, socket_mode: int) -> Bound:
    """Bind, with `socket_mode` on a UNIX socket's file. Raises ListenError."""
    try:
        if listen.startswith("unix:"):
            return _bind_unix(Path(listen.removeprefix("unix:")), socket_mode)
        return _bind_tcp(listen)
    except OSError as error:
        reason = error.strerror or str(error)
        hint = "; is a gateway running already?" if error.errno == errno.EADDRINUSE else ""
        raise ListenError(f"cannot listen on {listen}: {reason}{hint}") from error


def _bind_tcp(listen: str) -> Bound:
    host, _, port = listen.rpartition(":")
    family, kind, protocol, _, address = socket.getaddrinfo(
        host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return Bound(listener)


def _bind_unix(path: Path, mode: int) -> Bound:
    _clear_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o177)  # nobody else connects before the mode is set
    try:
        listener.bind(str(path))
        path.chmod(mode)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(previous)
    return Bound(listener, path)


def _clear_stale(path: Path) -> None:
    """Remove a socket file that nobody listens on; anything else is left and refused."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.EEXIST, "a file that is not a socket stands there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_ANSWER_SECONDS)
        try:
            # A timeout is somebody who listens, with a full backlog.
            with suppress(TimeoutError):
                probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "somebody listens there")
