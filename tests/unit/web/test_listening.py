"""An address -> a bound socket, with dead sockets cleared away and live ones left alone."""

import os
import socket
import stat
from pathlib import Path

import pytest

from gateway.web.listening import ListenError, bind


def test_a_port_is_bound_and_told() -> None:
    bound = bind("127.0.0.1:0", 0o660)
    host, _, port = bound.address.rpartition(":")
    assert (host, int(port) > 0) == ("127.0.0.1", True)
    bound.close()


def test_ipv6_stands_in_brackets() -> None:
    """A machine without IPv6 must at least say so by name."""
    try:
        bound = bind("[::1]:0", 0o660)
    except ListenError as error:
        address = str(error)
    else:
        address = bound.address
        bound.close()
    assert "[::1]:" in address


def test_a_port_that_is_taken_is_said() -> None:
    first = bind("127.0.0.1:0", 0o660)
    first.socket.listen()
    with pytest.raises(ListenError, match="Address already in use; is a gateway running already"):
        bind(first.address, 0o660)
    first.close()


def test_a_host_that_does_not_exist_is_said() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on host\.invalid:1"):
        bind("host.invalid:1", 0o660)


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_a_unix_socket_has_its_mode_whatever_the_umask(mode: int, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        bound = bind(f"unix:{tmp_path}/gateway.sock", mode)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "gateway.sock").stat().st_mode) == mode
    bound.close()
    assert not (tmp_path / "gateway.sock").exists()


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    bound = bind(f"unix:{path}", 0o660)
    assert bound.address == f"unix:{path}"
    bound.close()


def test_a_socket_that_somebody_listens_on_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as alive:
        alive.bind(str(path))
        alive.listen()
        inode = path.stat().st_ino
        with pytest.raises(ListenError, match="somebody listens there"):
            bind(f"unix:{path}", 0o660)
        assert path.stat().st_ino == inode


def test_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    path.write_text("precious")
    with pytest.raises(ListenError, match="a file that is not a socket"):
        bind(f"unix:{path}", 0o660)
    assert path.read_text() == "precious"


def test_closing_leaves_a_successors_socket(tmp_path: Path) -> None:
    """A new gateway may have taken the place over while the old one drains."""
    path = tmp_path / "gateway.sock"
    old = bind(f"unix:{path}", 0o660)
    path.rename(tmp_path / "aside")
    new = bind(f"unix:{path}", 0o660)
    old.close()
    assert path.exists()
    new.close()
