"""Value of a Host field -> is it a host and nothing else (RFC 9110 section 7.2)?"""

import re
from ipaddress import IPv6Address
from typing import Final

_NAME: Final = re.compile(
    rb"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]{0,252}[A-Za-z0-9_.])?(?::([0-9]{1,5}))?"
)
_LITERAL: Final = re.compile(rb"\[([0-9A-Fa-f:.]{2,45})\](?::([0-9]{1,5}))?")
_LAST_PORT: Final = 65535


def is_valid_host(value: bytes) -> bool:
    """A name, an IPv4 address or a bracketed IPv6 address, and perhaps a port.

    Stricter than the RFC's reg-name, which takes percent-encoding and sub-delimiters: nobody's
    cluster is called so, and a host such as "a/?x=" has poisoned URLs rebuilt from it
    (CVE-2026-48710).
    """
    if match := _NAME.fullmatch(value):
        port = match[1]
        return b".." not in value and int(port or 0) <= _LAST_PORT
    if match := _LITERAL.fullmatch(value):
        return _is_address(match[1].decode("ascii")) and int(match[2] or 0) <= _LAST_PORT
    return False


def _is_address(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
