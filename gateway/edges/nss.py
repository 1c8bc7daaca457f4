"""A user name -> its passwd entry, or None for no such user, or OSError for no answer."""

import ctypes
import errno
import os

from gateway.users.accounts import Account

_FIRST_BUFFER_BYTES = 4096
_LAST_BUFFER_BYTES = 1024 * 1024


class _Passwd(ctypes.Structure):
    """`struct passwd` of Linux, glibc and musl alike."""

    _fields_ = (
        ("pw_name", ctypes.c_char_p),
        ("pw_passwd", ctypes.c_char_p),
        ("pw_uid", ctypes.c_uint32),
        ("pw_gid", ctypes.c_uint32),
        ("pw_gecos", ctypes.c_char_p),
        ("pw_dir", ctypes.c_char_p),
        ("pw_shell", ctypes.c_char_p),
    )


def ask_passwd(name: str) -> Account | None:
    """getpwnam_r(3). Blocks as long as NSS does. Raises OSError where a service does not answer.

    The standard library's pwd.getpwnam says KeyError for both (measured: "files" plus a service
    that is down gives ENOENT here and KeyError there), and a directory that is down must not look
    like a user that does not exist.
    """
    if "\0" in name:
        return None  # C would read it up to there, and find another user
    library = ctypes.CDLL(None)
    entry = _Passwd()
    found = ctypes.POINTER(_Passwd)()
    size = _FIRST_BUFFER_BYTES
    while True:
        buffer = ctypes.create_string_buffer(size)
        arguments = (name.encode(), ctypes.byref(entry), buffer, size, ctypes.byref(found))
        status = library.getpwnam_r(*arguments)
        if status == errno.ERANGE and size < _LAST_BUFFER_BYTES:
            size *= 4
        elif status != errno.EINTR:
            break
    if status:
        raise OSError(status, os.strerror(status))
    return _account(entry) if found else None


def ask_groups(name: str, gid: int) -> tuple[int, ...]:
    """getgrouplist(3): every group of the user, the primary one first. Blocks as NSS does."""
    return tuple(dict.fromkeys([gid, *os.getgrouplist(name, gid)]))


def _account(entry: _Passwd) -> Account:
    # Copied out before the buffer, which the pointers point into, is given back.
    texts = (entry.pw_name, entry.pw_gecos, entry.pw_dir, entry.pw_shell)
    name, gecos, home, shell = ((text or b"").decode(errors="replace") for text in texts)
    return Account(name, entry.pw_uid, entry.pw_gid, gecos, home, shell)
