"""Values -> Set-Cookie lines of the gateway's own cookies, and what of them came back.

`__Host-` cookies are the host's alone: Secure, Path=/ and without Domain (RFC 6265bis section 4.1.3.2).
Lax, because the provider's answer and links from elsewhere are navigations from another site.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Final

from gateway.request.browser import SESSION_COOKIE, cookies_named
from gateway.sign_in.flow import FLOW_SECONDS, cookie_suffix

_FLOW_PREFIX: Final = "__Host-slurm-gateway-flow-"
_ATTRIBUTES: Final = "Path=/; Secure; HttpOnly; SameSite=Lax"
_MOST_FLOWS: Final = 8
"""Tabs in which somebody signs in at once; older ones would only fill the header."""
_MAXIMUM_FLOW_CHARACTERS: Final = 4096


def session_cookie(session_id: str) -> str:
    """Ends with the browser; the server ends it earlier."""
    return f"{SESSION_COOKIE}={session_id}; {_ATTRIBUTES}"


def no_session_cookie() -> str:
    """Away with it."""
    return f"{SESSION_COOKIE}=; {_ATTRIBUTES}; Max-Age=0"


def flow_cookie(state: str, sealed: bytes) -> str:
    """For the time that a sign-in may take."""
    value = base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
    name = _FLOW_PREFIX + cookie_suffix(state)
    return f"{name}={value}; {_ATTRIBUTES}; Max-Age={FLOW_SECONDS:.0f}"


def no_flow_cookie(state: str) -> str:
    """The sign-in is over."""
    return f"{_FLOW_PREFIX}{cookie_suffix(state)}=; {_ATTRIBUTES}; Max-Age=0"


def read_flow_cookie(field: bytes, state: str) -> bytes:
    """What was sealed for this state; empty where the browser has no such cookie, or several."""
    found = cookies_named(field, (_FLOW_PREFIX + cookie_suffix(state)).encode())
    if len(found) != 1 or len(found[0]) > _MAXIMUM_FLOW_CHARACTERS:
        return b""
    try:
        return base64.b64decode(found[0] + b"==="[: -len(found[0]) % 4], b"-_", validate=True)
    except binascii.Error:
        return b""


def surplus_flow_cookies(field: bytes) -> Iterable[str]:
    """Removes all flows of a browser that has too many."""
    names = [pair.strip(b" \t").partition(b"=")[0] for pair in field.split(b";")]
    flows = [name for name in names if name.startswith(_FLOW_PREFIX.encode())]
    if len(flows) < _MOST_FLOWS:
        return
    for name in flows:
        suffix = name.removeprefix(_FLOW_PREFIX.encode())
        if suffix.isalnum() and suffix.isascii():
            yield f"{_FLOW_PREFIX}{suffix.decode()}=; {_ATTRIBUTES}; Max-Age=0"
