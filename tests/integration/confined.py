"""A systemd unit, a command -> the command under what of the unit's restrictions the kernel gives without systemd.

Run in a mount namespace of its own, as root. Applied, as the unit says: the user without groups, no capability, no
new privileges, the filter of system calls and address families, no memory that is writable and executable, and a
file system that is read-only but for the directories given.
"""

import ctypes
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_ALLOW = 0x7FFF0000
_ERRNO_EPERM = 0x00050000 | 1
_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE, _PR_CAPBSET_DROP = 38, 65, 24
_COMPARE_EQUAL = 4
_UNKNOWN_CALL = -1
_LAST_CAPABILITY = Path("/proc/sys/kernel/cap_last_cap")


class _Compare(ctypes.Structure):
    """scmp_arg_cmp of libseccomp."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def values_of(unit: str, name: str) -> list[str]:
    """The words of all lines of a setting, in order."""
    lines = re.findall(rf"^{name}=(.*)$", unit, re.MULTILINE)
    return [word for line in lines for word in line.split()]


def is_on(unit: str, name: str) -> bool:
    """Whether a switch is set."""
    return values_of(unit, name) == ["yes"]


def members(group: str) -> set[str]:
    """The system calls of a group such as @system-service, and of the groups in it."""
    command = ["systemd-analyze", "syscall-filter", "--no-pager", group]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    words = [line.strip() for line in shown.splitlines()[1:] if line.startswith("    ")]
    found: set[str] = set()
    for word in (word for word in words if not word.startswith("#")):
        found |= members(word) if word.startswith("@") else {word}
    return found


def permitted_calls(unit: str) -> set[str]:
    """A first line lists what is permitted, later ones with ~ take away; @default is always there."""
    permitted = members("@default")
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        for group in line.lstrip("~").split():
            calls = members(group) if group.startswith("@") else {group}
            permitted = permitted - calls if line.startswith("~") else permitted | calls
    return permitted


def filter_calls(calls: Iterable[str], families: Iterable[str]) -> None:
    """seccomp_init(3) and its relatives, by the library that systemd uses itself."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_ERRNO_EPERM)))
    for call in calls:
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number != _UNKNOWN_CALL and call != "socket":
            _check(library.seccomp_rule_add(context, ctypes.c_uint32(_ALLOW), number, 0))
    number = library.seccomp_syscall_resolve_name(b"socket")
    for family in families:
        compared = _Compare(0, _COMPARE_EQUAL, int(getattr(socket, family)), 0)
        _check(
            library.seccomp_rule_add_array(
                context, ctypes.c_uint32(_ALLOW), number, 1, ctypes.byref(compared)
            )
        )
    _check(library.seccomp_load(context))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, f"libseccomp: {os.strerror(-result)}")


def prctl(option: int, value: int) -> None:
    """prctl(2). Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def confine(unit: str, uid: int, writable: Iterable[str]) -> None:
    """Everything, in the order in which the rights for it go."""
    calls, families = permitted_calls(unit), values_of(unit, "RestrictAddressFamilies")
    if values_of(unit, "ProtectSystem") == ["strict"]:
        for folder in writable:
            subprocess.run(["mount", "--bind", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", "/"], check=True)
    if not values_of(unit, "CapabilityBoundingSet"):
        for capability in range(int(_LAST_CAPABILITY.read_text()) + 1):
            prctl(_PR_CAPBSET_DROP, capability)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if is_on(unit, "NoNewPrivileges"):
        prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if is_on(unit, "MemoryDenyWriteExecute"):
        prctl(_PR_SET_MDWE, 1)
    filter_calls(calls, families)


def main() -> None:
    """UNIT UID WRITABLE[,WRITABLE] COMMAND…"""
    unit, uid, writable, *command = sys.argv[1:]
    confine(Path(unit).read_text(), int(uid), writable.split(","))
    os.execv(command[0], command)  # noqa: S606 (no shell is what is wanted)


if __name__ == "__main__":
    main()
