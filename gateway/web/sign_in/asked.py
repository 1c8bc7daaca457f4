"""A request to one of the pages -> what of it is read: browser, query, form, and who sent it."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl

from fastapi import Request

from gateway.denial import Denied, Reason
from gateway.model import AuditRecord, Browser
from gateway.request.browser import read_browser
from gateway.sign_in.desk import Visitor

_MAXIMUM_FORM_BYTES = 65_536
_MAXIMUM_FIELDS = 32
_FORM = b"application/x-www-form-urlencoded"


def field(request: Request, name: bytes) -> bytes:
    """The header field, joined where it came several times."""
    separator = b"; " if name == b"cookie" else b", "
    return separator.join(value for key, value in request.scope["headers"] if key == name)


def browser_of(request: Request) -> Browser:
    """As the first stage reads it. Raises Denied(HEADER_MALFORMED)."""
    parts = [field(request, name) for name in (b"cookie", b"sec-fetch-site", b"sec-fetch-mode")]
    origin = field(request, b"origin")
    return read_browser(parts[0], parts[1], parts[2], origin) or Browser(None, "", False, "")


def visiting_browser(request: Request) -> Browser:
    """The same, where a session is to be used: one beside other credentials is none, as in the first stage.

    Raises Denied(CREDENTIALS_AMBIGUOUS), RFC 6750 section 2.
    """
    browser = browser_of(request)
    has_other = any(name == b"authorization" for name, _ in request.scope["headers"])
    if browser.session is not None and has_other:
        detail = "Send a session cookie or an Authorization header, not both."
        raise Denied(Reason.CREDENTIALS_AMBIGUOUS, "session and authorization", detail=detail)
    return browser


def navigates(request: Request) -> bool:
    """Whether a person's browser asks for a page. Old ones do not say, but want HTML."""
    mode = field(request, b"sec-fetch-mode")
    return mode == b"navigate" if mode else wants_html(request)


def wants_html(request: Request) -> bool:
    """Whether an answer may be a page."""
    return b"text/html" in field(request, b"accept")


def query_of(request: Request) -> dict[str, str]:
    """Names that come once, with their values. Raises Denied for one that comes twice."""
    return _unique(request.scope["query_string"])


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a posted form. Raises Denied."""
    if field(request, b"content-type").partition(b";")[0].strip().lower() != _FORM:
        raise Denied(Reason.MEDIA_TYPE_UNSUPPORTED, detail=f"The body must be {_FORM.decode()}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAXIMUM_FORM_BYTES:
            raise Denied(Reason.BODY_TOO_LARGE)
    return _unique(bytes(body))


def _unique(encoded: bytes) -> dict[str, str]:
    """One reading or none: names and values are UTF-8, and no name comes twice."""
    try:
        pairs = parse_qsl(
            encoded.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=_MAXIMUM_FIELDS,
            errors="strict",
        )
    except ValueError:
        raise Denied(Reason.TARGET_MALFORMED, "parameters") from None
    values = dict(pairs)
    if len(values) != len(pairs):
        raise Denied(Reason.TARGET_MALFORMED, "a parameter comes twice")
    return values


def record_of(request: Request) -> AuditRecord:
    """The request's record, which `Audited` writes."""
    record: AuditRecord = request.scope["gateway.record"]
    return record


def visitor_of(request: Request) -> Visitor:
    """Where from, with what."""
    agent = field(request, b"user-agent").decode("latin-1")
    return Visitor(record_of(request).client_address, agent)


class FormTokens:
    """A session's token for its forms, beside the checks of Origin and Sec-Fetch-Site."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, id_hash: str) -> str:
        """The same for as long as the session lives."""
        return hmac.digest(self._key, id_hash.encode(), hashlib.sha256).hex()

    def check(self, id_hash: str, form: Mapping[str, str]) -> None:
        """Raise Denied(CROSS_SITE_REQUEST) for a form that is not the session's."""
        if not hmac.compare_digest(form.get("token", "").encode(), self.token(id_hash).encode()):
            raise Denied(Reason.CROSS_SITE_REQUEST, "the form's token")
