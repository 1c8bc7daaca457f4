"""A gateway's URL as people type it -> the one form of it that is asked, or why it cannot be."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from gateway.client.trouble import Exit, Trouble, printable

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_ADDRESS = re.compile(r"[\w.:\[\]~/%-]+")
"""Nothing that a shell or a terminal would take for more: an address is shown in commands to type."""
_VISIBLE = re.compile(r"[!-~]+")
_EXAMPLE = "write it as https://slurm.example.org"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask, whom to trust there, and under which name its sign-in is kept ("" for none)."""

    url: str
    ca_file: Path | None = None
    profile: str = ""

    def join(self, path: str) -> str:
        """The address of a path that begins with a slash."""
        return self.url + path


def gateway_url(text: str) -> str:
    """https://slurm.example.org, without a slash at the end. Raises Trouble.

    A name without a scheme means https. Plain http is for this machine alone: it would show the
    token to everybody on the way.
    """
    typed = text.strip()
    parts = _split(typed if "://" in typed else f"https://{typed}")
    is_web = parts.scheme in ("https", "http") and parts.hostname
    if not is_web or not _ADDRESS.fullmatch(f"{parts.hostname}{parts.path}"):
        raise Trouble(Exit.WRONG_CALL, f"{printable(text)!r} is no URL of a gateway.", _EXAMPLE)
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise Trouble(
            Exit.WRONG_CALL, "A gateway's URL has no user, query or fragment in it.", _EXAMPLE
        )
    if not is_private(parts):
        raise Trouble(
            Exit.WRONG_CALL,
            f"{printable(text)} is not encrypted: your token would be sent for everybody to read.",
            "use https://",
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def is_private(parts: SplitResult) -> bool:
    """Whether nobody on the way reads what is sent: TLS, or this machine itself."""
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts))


def is_loopback(parts: SplitResult) -> bool:
    """Whether it names this machine itself."""
    return parts.hostname in LOOPBACK


def is_private_url(text: str) -> bool:
    """The same of a URL that somebody else wrote: a browser would be opened at file: or worse just as well."""
    try:
        parts = urlsplit(text)
        is_whole = bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        return False
    return is_whole and is_private(parts) and bool(_VISIBLE.fullmatch(text))


def profile_name(url: str) -> str:
    """What a gateway's profile is called where nobody says: its host, and a port that is not 443."""
    parts = urlsplit(url)
    port = "" if parts.port in (None, 443) else f"-{parts.port}"
    path = parts.path.strip("/").replace("/", "-")
    name = f"{parts.hostname}{port}{'-' if path else ''}{path}"
    return "".join(one if one.isalnum() or one in "._-" else "-" for one in name)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise Trouble(Exit.WRONG_CALL, f"{printable(text)!r} is no URL.", _EXAMPLE) from None
    return parts
