"""Denied -> an RFC 9457 problem document."""

from http import HTTPStatus

import orjson

from gateway.denial import Denied

PROBLEM_TYPE = "/gateway/errors/"
"""Where the page of each code is served; a relative `type` is resolved against the gateway's URL."""

_FIXED_HEADERS = (
    (b"content-type", b"application/problem+json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


def render(denied: Denied, request_id: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """(status, headers as ASGI has them, body). Shows the public parts of the refusal only."""
    reason = denied.reason
    body = orjson.dumps(
        {
            "type": PROBLEM_TYPE + reason.code,
            "title": reason.sentence.rstrip("."),
            "status": reason.status,
            "detail": denied.detail,
            "instance": request_id,
            "code": reason.code,
            "request_id": request_id,
            **denied.members,
        }
    )
    headers = [
        *_FIXED_HEADERS,
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in denied.headers),
    ]
    return reason.status, headers, body


def status_phrase(status: int) -> str:
    """The reason phrase of a status, for an HTTP/1.1 status line."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
