"""Where somebody wants to go after signing in -> a path on our own origin, "/me" for anything else.

An open redirector is a phishing tool (RFC 9700 section 4.11). Nothing is repaired here: a target either
has one reading as a path of ours for every browser, or it is not used.
"""

import re
from typing import Final

DEFAULT_TARGET: Final = "/me"
_MAXIMUM_CHARACTERS: Final = 2048
_LOCAL: Final = re.compile(
    r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@/-]*)?"
    r"(?:\?[A-Za-z0-9._~!$&'()*+,;=:@/?%\[\]-]*)?"
)
"""RFC 3986's path-absolute and query without percent-encoding in the path: a browser decodes no second
slash, backslash or dot segment out of it, and `//` is refused below."""


def local_target(wanted: str | None) -> str:
    """A path, with its query, that leads nowhere but here."""
    if not wanted or len(wanted) > _MAXIMUM_CHARACTERS or not _LOCAL.fullmatch(wanted):
        return DEFAULT_TARGET
    path = wanted.partition("?")[0]
    segments = path.split("/")[1:]
    if any(segment in (".", "..") for segment in segments) or "//" in path:
        return DEFAULT_TARGET
    if segments[0] in ("login", "logout"):
        return DEFAULT_TARGET  # back into what leads here
    return wanted
