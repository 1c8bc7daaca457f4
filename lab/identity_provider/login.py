"""(issuer, client, user name) -> tokens, by the same requests that a browser and a command line would send."""

from __future__ import annotations

import base64
import hashlib
import http.cookiejar
import json
import secrets
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import IO, Any

from lab.processes import LabError

SECONDS = 20.0


class LoginError(LabError):
    """The provider refused; the text is its answer."""


class _StopAtCallback(urllib.request.HTTPRedirectHandler):
    """Follows the provider's own redirects and keeps the one to the client, which nobody listens for."""

    def __init__(self, callback: str) -> None:
        self._callback = callback

    def redirect_request(  # noqa: PLR0917 - urllib calls it so
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        if newurl.startswith(self._callback):
            raise _Arrived(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Arrived(Exception):
    def __init__(self, url: str) -> None:
        super().__init__("redirected to the client")
        self.query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))


def _browser(callback: str) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        _StopAtCallback(callback),
    )


def post_form(
    url: str, form: Mapping[str, str], basic: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Post to an OAuth endpoint and read its JSON. LoginError with the answer of a refusal."""
    request = urllib.request.Request(url, urllib.parse.urlencode(form).encode())  # noqa: S310 - http on loopback
    if basic:
        pair = ":".join(map(urllib.parse.quote_plus, basic)).encode()
        request.add_header("Authorization", "Basic " + base64.b64encode(pair).decode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as refusal:
        with refusal:
            raise LoginError(
                f"{url}: {refusal.code} {refusal.read(500).decode(errors='replace')}"
            ) from None


def log_in(issuer: str, client_id: str, callback: str, user: str, scope: str) -> dict[str, Any]:
    """Authorization code with PKCE (RFC 7636): the provider's login page, then the token endpoint."""
    verifier = secrets.token_urlsafe(48)
    challenge = (
        base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    )
    state = secrets.token_urlsafe(12)
    asked = {
        "client_id": client_id,
        "response_type": "code",
        "redirect_uri": callback,
        "scope": scope,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": state,
    }
    arrived = _authorize(f"{issuer}/auth?{urllib.parse.urlencode(asked)}", callback, user)
    if arrived.get("state") != state or "code" not in arrived:
        raise LoginError(
            f"{issuer} sent no code for {user}: {arrived.get('error', 'another state')}"
        )
    form = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "code": arrived["code"],
        "redirect_uri": callback,
        "code_verifier": verifier,
    }
    return post_form(f"{issuer}/token", form)


def _authorize(url: str, callback: str, user: str) -> dict[str, str]:
    browser = _browser(callback)
    try:
        with browser.open(url, timeout=SECONDS) as form:
            page = form.geturl()
        answer = urllib.parse.urlencode({"login": user}).encode()
        with browser.open(page, answer, timeout=SECONDS) as leftover:
            raise LoginError(f"the login of {user} ended at {leftover.geturl()}")
    except _Arrived as arrived:
        return arrived.query
    except urllib.error.HTTPError as refusal:
        with refusal:
            raise LoginError(f"{user} cannot log in: {refusal.code}") from None
