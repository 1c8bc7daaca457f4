"""(template, values) -> an HTML answer that runs no script, is framed by nobody and tells no other host of itself."""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import Response
from jinja2 import Environment, PackageLoader, StrictUndefined

STYLE_PATH: Final = "/gateway/static/style.css"
ICON_PATH: Final = "/gateway/static/icon.svg"
DOCS_PATH: Final = "/docs"
_FIXED: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Pages:
    """All templates of one cluster's pages. Every value is escaped. `docs` is where calls are tried, if anywhere."""

    def __init__(self, cluster: str, docs: str = "") -> None:
        self._environment = Environment(
            loader=PackageLoader("gateway.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "cluster": cluster,
            "style": STYLE_PATH,
            "icon": ICON_PATH,
            "docs": docs,
        }

    def __call__(
        self, template: str, status: int = 200, *, form_to: str = "", **values: Any
    ) -> Response:
        """`form_to` is a URL elsewhere that a form of the page goes to."""
        text = self._environment.get_template(template).render(values)
        headers = {**_FIXED, "Content-Security-Policy": _policy(form_to)}
        return Response(text, status, headers, media_type="text/html; charset=utf-8")


def _policy(form_to: str) -> str:
    """Providers hand a sign-out on to further hosts, and browsers hold redirects to form-action too."""
    elsewhere = ""
    if form_to:
        parts = urlsplit(form_to)
        elsewhere = f" https: {parts.scheme}://{parts.netloc}"
    return (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none';"
        f" form-action 'self'{elsewhere}"
    )


def see_other(location: str) -> Response:
    """After a POST, or on to the provider (RFC 9700 section 4.12 asks for 303)."""
    return Response(None, 303, {**_FIXED, "Location": location})


def with_cookies(response: Response, lines: Iterable[str]) -> Response:
    """The same with Set-Cookie lines."""
    for line in lines:
        response.headers.append("Set-Cookie", line)
    return response
