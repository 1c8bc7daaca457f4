"""Header fields of a browser -> what they say of its session and of where the request comes from."""

import re
from typing import Final

from gateway.denial import Denied, Reason
from gateway.model import Browser, Secret

SESSION_COOKIE: Final = "__Host-slurm-gateway-session"
_MAXIMUM_COOKIE_BYTES: Final = 16_384
_SESSION_ID: Final = re.compile(rb"[A-Za-z0-9_-]{43}")
_NAME: Final = SESSION_COOKIE.encode()
_SITES: Final = frozenset({b"same-origin", b"same-site", b"cross-site", b"none"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD"})


def cookies_named(field: bytes, name: bytes) -> list[bytes]:
    """The values of every cookie of this name (RFC 6265 section 5.4), without quotes undone."""
    prefix = name + b"="
    pairs = [pair.strip(b" \t") for pair in field.split(b";")]
    return [pair[len(prefix) :] for pair in pairs if pair.startswith(prefix)]


def read_browser(cookie: bytes, site: bytes, mode: bytes, origin: bytes) -> Browser | None:
    """None where there is neither a session's cookie nor a navigation. Raises Denied(HEADER_MALFORMED)."""
    session = _session(cookie) if _NAME in cookie else None
    navigates = mode == b"navigate"
    if session is None and not navigates:
        return None
    return Browser(
        session,
        site.decode() if site in _SITES else ("unknown" if site else ""),
        navigates,
        origin.decode("latin-1"),
    )


def _session(cookie: bytes) -> Secret | None:
    if len(cookie) > _MAXIMUM_COOKIE_BYTES:
        raise Denied(Reason.HEADER_MALFORMED, "cookie", detail="The Cookie header is too long.")
    found = cookies_named(cookie, _NAME)
    if not found:
        return None
    if len(found) > 1 or not _SESSION_ID.fullmatch(found[0]):
        detail = f"The cookie {SESSION_COOKIE} must come once and as it was set."
        raise Denied(Reason.HEADER_MALFORMED, "session cookie", detail=detail)
    return Secret(found[0].decode())


def check_call(browser: Browser, *, changes_state: bool) -> None:
    """Refuse a session's navigation that would change something. Raises Denied(CROSS_SITE_REQUEST).

    Some operations of slurmrestd change the cluster by GET. A link in a mail, or one that goes through the
    sign-in and back, looks like somebody's own doing; a script of our own pages does not navigate.
    """
    if browser.session is None or not changes_state:
        return
    if browser.navigates or browser.site == "none":
        raise Denied(Reason.CROSS_SITE_REQUEST, "a navigation that would change something")


def check_origin(
    browser: Browser, method: str, public_origin: str, *, is_page: bool = False
) -> None:
    """Refuse a session whose request another site may have caused. Raises Denied(CROSS_SITE_REQUEST).

    By Fetch Metadata (W3C) wherever the browser sends it, as all have since 2023; without it only an
    Origin that is ours will do. "none" is somebody's own doing, a bookmark or a typed address: it may
    read. An Origin that contradicts is refused in any case; "null" says nothing, because pages without a
    referrer send it from their own forms (Fetch, section 3.1). A page of ours that is only shown may be
    linked to from anywhere.
    """
    if is_page and browser.navigates and method in _SAFE_METHODS:
        return
    is_ours = browser.origin == public_origin
    if not is_ours and browser.origin not in ("", "null"):
        raise Denied(Reason.CROSS_SITE_REQUEST, "origin")
    if browser.site == "same-origin" or (not browser.site and is_ours):
        return
    if browser.site == "none" and method in _SAFE_METHODS:
        return
    raise Denied(Reason.CROSS_SITE_REQUEST, f"sec-fetch-site: {browser.site or 'missing'}")
