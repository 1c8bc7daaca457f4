"""A person's browser as far as HTTP goes: cookies, redirects, Fetch Metadata, forms; and the provider's login page."""

from __future__ import annotations

import html
import http.cookiejar
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_FORM = re.compile(r'<form method="(\w+)"(?: action="([^"]*)")?.*?</form>', re.DOTALL)
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')
_ONWARD = re.compile(r'<meta http-equiv="refresh" content="0;url=([^"]*)">')


@dataclass(frozen=True)
class Page:
    """What came, and from where in the end."""

    status: int
    url: str
    headers: Any
    body: str

    def form(self, action: str) -> tuple[str, dict[str, str]]:
        """(URL, hidden fields) of the first form that goes there."""
        for match in _FORM.finditer(self.body):
            if html.unescape(match[2] or "") == action:
                fields = {k: html.unescape(v) for k, v in _HIDDEN.findall(match[0])}
                return urllib.parse.urljoin(self.url, action), fields
        raise AssertionError(f"no form to {action} in {self.body}")

    @property
    def onward(self) -> str:
        """Where the page sends the browser by itself."""
        match = _ONWARD.search(self.body)
        assert match, self.body
        return urllib.parse.urljoin(self.url, html.unescape(match[1]))


class _Kept(urllib.request.HTTPRedirectHandler):
    """Notes each hop, and stops before one that a test wants to see."""

    def __init__(self, seen: list[str]) -> None:
        self.seen = seen
        self.stop_at = ""

    def redirect_request(  # noqa: PLR0917 - urllib calls it so
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        self.seen.append(newurl)
        if self.stop_at and newurl.startswith(self.stop_at):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Jar(http.cookiejar.DefaultCookiePolicy):
    """Cookies of localhost belong to all of its ports."""

    def set_ok_domain(self, cookie: http.cookiejar.Cookie, request: Any) -> bool:
        return True

    def return_ok_secure(self, cookie: http.cookiejar.Cookie, request: Any) -> bool:
        return True


class HttpBrowser:
    """One browser: its cookies are its own."""

    def __init__(self, origin: str, ca_file: Path) -> None:
        self.origin = origin
        self.hops: list[str] = []
        self.jar = http.cookiejar.CookieJar(_Jar())
        self._redirects = _Kept(self.hops)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPCookieProcessor(self.jar),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(ca_file))),
            self._redirects,
        )

    def open(
        self,
        target: str,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        stop_at: str = "",
    ) -> Page:
        """A navigation within our own pages, unless the headers say otherwise; hops are followed."""
        url = urllib.parse.urljoin(self.origin, target)
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(url, data)  # noqa: S310 - https, and http on loopback
        sent = {
            "accept": "text/html,*/*;q=0.8",
            "sec-fetch-mode": "navigate",
            "sec-fetch-site": "same-origin",
            "user-agent": "a browser of the tests",
        }
        if form is not None:
            sent["origin"] = "null"  # as browsers do from pages without a referrer
        sent |= headers or {}
        for name, value in sent.items():
            if value:
                request.add_header(name, value)
        self._redirects.stop_at = stop_at
        try:
            answer = self._opener.open(request, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body = answer.read().decode()
        return Page(answer.status or 0, answer.geturl(), answer.headers, body)

    def call(self, target: str, headers: Mapping[str, str] | None = None) -> Page:
        """What a script of ours would ask for with fetch()."""
        script = {"accept": "application/json", "sec-fetch-mode": "cors"}
        return self.open(target, headers={**script, **(headers or {})})

    def sign_in(self, user: str, at: str = "/login", *, strongly: bool = False) -> Page:
        """Through the provider's own page, and back to the page that says so."""
        login = self.open(at)
        if "Sign in</button>" not in login.body:
            return login  # the provider knew who it is
        fields = {"login": user}
        if strongly:
            fields["second_factor"] = "on"
        return self.open(login.url, fields)

    def cookie(self, name: str) -> http.cookiejar.Cookie | None:
        """One of the cookies whose name begins so."""
        return next((one for one in self.jar if one.name.startswith(name)), None)
