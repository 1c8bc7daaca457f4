"""The HTTP parser's complaint about a head -> Denied."""

from typing import Final

import httptools

from gateway.denial import Denied, Reason
from gateway.web.head_form import ALLOW, has_stray_bytes, is_method

_FRAMING_WORDS: Final = ("content-length", "transfer-encoding")


def denied_by_parser(error: httptools.HttpParserError, head: bytes) -> Denied:
    """What is wrong, as one of our callbacks said or as the parser did.

    The parser's own sentence is constant text, so it may stand in the note.
    """
    if isinstance(error.__context__, Denied):
        return error.__context__
    reason = _reason(error, head)
    headers = ALLOW if reason is Reason.METHOD_NOT_ALLOWED else ()
    return Denied(reason, str(error), headers=headers)


def _reason(error: httptools.HttpParserError, head: bytes) -> Reason:
    if isinstance(error, httptools.HttpParserInvalidMethodError) and is_method(head):
        return Reason.METHOD_NOT_ALLOWED
    is_line = isinstance(error, httptools.HttpParserInvalidMethodError)
    if is_line or has_stray_bytes(head.partition(b"\r\n")[0]):
        return Reason.REQUEST_MALFORMED
    if isinstance(error, httptools.HttpParserInvalidURLError):
        return Reason.TARGET_MALFORMED
    if any(word in str(error).lower() for word in _FRAMING_WORDS):
        return Reason.FRAMING_INVALID
    return Reason.HEADER_MALFORMED
