"""Raw bytes of a request head -> are its size, lines and request line in order? Else Denied.

The header fields themselves are the HTTP parser's business; this looks at what it does not tell or
tells too late: sizes, single spaces, the form of the target, and stray bytes in half a head, which
the parser gets whole.
"""

import re
from dataclasses import dataclass
from typing import Final

from gateway.denial import Denied, Reason

HEAD_END: Final = b"\r\n\r\n"
ALLOW: Final = (("Allow", "GET, POST, DELETE"),)

_VERSIONS: Final = (b" HTTP/1.1", b" HTTP/1.0")
_CONTROLS: Final = bytes([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), 0x7F])
"""What may stand nowhere in a head; HTAB, CR and LF have their places."""
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_LINE_SLACK_BYTES: Final = 64
"""Room for method and version in a request line whose end has not come."""
_USER_INFORMATION: Final = re.compile(rb"//[^/]*@")
_MAXIMUM_SHOWN_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """`maximum_header_bytes` counts the fields without the request line."""

    maximum_url_bytes: int = 8192
    maximum_header_bytes: int = 32768
    maximum_header_fields: int = 100


def check_complete(head: bytes, limits: HeadLimits) -> bool:
    """Check a head from its first byte to its empty line: is it of HTTP/1.1? Raises Denied.

    Stray bytes and the number of fields are left to the parser, which reads all of it anyway.
    """
    line_end = head.find(b"\r\n")
    line = head[:line_end]
    _check_request_line(line, limits)
    if len(head) - line_end - len(HEAD_END) > limits.maximum_header_bytes:
        raise Denied(Reason.HEADERS_TOO_LARGE)
    return line.endswith(_VERSIONS[0])


def check_partial(data: bytes, known: int, limits: HeadLimits) -> None:
    """Refuse a head that has not ended as soon as that is certain. Raises Denied.

    `known` is how much of `data` was checked before, so that byte-wise senders cost no more.
    """
    line_end = data.find(b"\r\n")
    if line_end >= known - 1 and line_end >= 0:
        _check_request_line(data[:line_end], limits)
    if line_end < 0 and len(data) > limits.maximum_url_bytes + _LINE_SLACK_BYTES:
        raise Denied(Reason.TARGET_TOO_LONG)
    if len(data) - line_end - len(HEAD_END) > limits.maximum_header_bytes:
        raise Denied(Reason.HEADERS_TOO_LARGE)
    start = known - 1 if data[known - 1 : known] == b"\r" else known
    if has_stray_bytes(data[start:].removesuffix(b"\r")):
        raise _stray(data, line_end)


def has_stray_bytes(data: bytes) -> bool:
    """Whether there is a control character, or a CR or LF that is no part of a CRLF."""
    newlines = data.count(b"\n")
    return (
        newlines != data.count(b"\r\n")
        or newlines != data.count(b"\r")
        or len(data.translate(None, _CONTROLS)) != len(data)
    )


def is_method(head: bytes) -> bool:
    """Whether a head begins with what may be a method, if none that anybody knows."""
    return _METHOD.fullmatch(head.partition(b" ")[0]) is not None


def method_and_target(data: bytes) -> tuple[str, str]:
    """For the audit of a refused head: its method and the path of its target, as far as they came.

    Cut, printable, and without what may hold a secret: the query, and the user of an absolute URL.
    """
    method, _, rest = data.lstrip(b"\r\n").partition(b"\r\n")[0].partition(b" ")
    if not _METHOD.fullmatch(method):
        return "", ""
    path = _USER_INFORMATION.sub(b"//", rest.partition(b" ")[0].partition(b"?")[0])
    text = path[:_MAXIMUM_SHOWN_BYTES].decode("latin-1")
    return method.decode("ascii"), "".join([c if " " < c <= "~" else "?" for c in text])


def _check_request_line(line: bytes, limits: HeadLimits) -> None:
    """METHOD SP target SP HTTP/1.x and nothing else; the target in origin form (RFC 9112 3.2.1)."""
    if (
        line.count(b" ") != 2  # noqa: PLR2004  # see the docstring
        or not line.endswith(_VERSIONS)
        or line.startswith((b"\r", b"\n"))  # the parser skips them
    ):
        raise Denied(Reason.REQUEST_MALFORMED, "the request line is not METHOD target HTTP/1.1")
    target = line[line.find(b" ") + 1 : -len(_VERSIONS[0])]
    if len(target) > limits.maximum_url_bytes:
        raise Denied(Reason.TARGET_TOO_LONG)
    if line.startswith(b"CONNECT "):
        raise Denied(Reason.METHOD_NOT_ALLOWED, headers=ALLOW)
    if not target.startswith(b"/") or b"#" in target:
        raise Denied(Reason.TARGET_MALFORMED, "not in origin form, or with a fragment")


def _stray(data: bytes, line_end: int) -> Denied:
    is_in_line = line_end < 0 or has_stray_bytes(data[:line_end])
    reason = Reason.REQUEST_MALFORMED if is_in_line else Reason.HEADER_MALFORMED
    return Denied(reason, "a control character, or a CR or LF that stands alone")
