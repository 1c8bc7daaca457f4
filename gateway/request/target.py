"""Raw request target -> Target, the one canonical form, or Denied.

What a Target may hold, so that later stages need not look again:

- `path` is "/" or "/" followed by segments joined by "/". A segment is never empty, "." or "..",
  and holds printable ASCII (space to "~") without  / ? # % ; \\ { }
- `query` is a tuple of (name, value) in the order of arrival. A name matches
  [A-Za-z_][A-Za-z0-9_.-]{0,63} and occurs once, whatever its case. A value may be empty and holds
  printable ASCII without  % ; \\ # &

Percent-encoding is undone once, and what would still look encoded after that is refused, so a
second decoding by anyone changes nothing. In a query slurmrestd reads "+" as a space, ";" as "&"
and skips a second "=", other readers do not: all three are refused in the raw form, and "+" and "="
are taken percent-encoded. Grammar: RFC 3986 sections 3.3 and 3.4, and "[" and "]" as they are,
because browsers send them so.
"""

import re
from typing import Final, NoReturn
from urllib.parse import unquote_to_bytes

from gateway.denial import Denied, Reason
from gateway.model import Target

_MAXIMUM_PARAMETERS: Final = 100
"""More than any operation has (the largest of Slurm 26.05 takes 34)."""

_UNRESERVED: Final = rb"A-Za-z0-9\-._~"
_RAW_PATH: Final = re.compile(rb"/[" + _UNRESERVED + rb"!$&'()*+,=:@\[\]/%]*")
_RAW_QUERY: Final = re.compile(rb"[" + _UNRESERVED + rb"!$'()*,:@\[\]/%=&]*")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_NO_SEGMENT_BYTE: Final = re.compile(rb"[^\x20-\x7e]|[/?#%;\\{}]")
_NO_VALUE_BYTE: Final = re.compile(rb"[^\x20-\x7e]|[%;\\#&]")
_NAME: Final = re.compile(rb"[A-Za-z_][A-Za-z0-9_.\-]*(?:[ /][A-Za-z0-9_.\-]+)*")
"""Since v0.0.42 slurmrestd has parameters such as "Exclude parent id/name"."""
_MAXIMUM_NAME_BYTES: Final = 64


def canonical_target(raw: bytes) -> Target:
    """The canonical form of an origin-form target (RFC 9112 section 3.2.1).

    One trailing slash is tolerated, because Slurm's own OpenAPI files have some, and so is a "?"
    with nothing behind it, which no ASGI server shows. Raises Denied(TARGET_MALFORMED), or
    Denied(CREDENTIALS_AMBIGUOUS) for a token in the query (RFC 6750 section 2.3).
    """
    raw_path, _, raw_query = raw.partition(b"?")
    path = _canonical_path(raw_path)
    return Target(path, _canonical_query(raw_query) if raw_query else ())


def _canonical_path(raw: bytes) -> str:
    if not raw.startswith(b"/"):
        _refuse("The request target must begin with a slash.")
    if not _RAW_PATH.fullmatch(raw):
        _refuse("The path holds a character that must not stand there.")
    if raw == b"/":
        return "/"
    segments = raw.removesuffix(b"/").split(b"/")[1:]
    return "/" + "/".join([_segment(segment) for segment in segments])


def _segment(raw: bytes) -> str:
    segment = _decode_once(raw)
    if segment in (b"", b".", b".."):
        _refuse("The path has an empty or a dot segment.")
    if _NO_SEGMENT_BYTE.search(segment):
        _refuse("The path holds an encoded character that must not stand there.")
    return segment.decode("ascii")


def _canonical_query(raw: bytes) -> tuple[tuple[str, str], ...]:
    if not _RAW_QUERY.fullmatch(raw):
        _refuse(
            "The query holds a character that must be percent-encoded"
            " (write a space as %20 and a plus sign as %2B)."
        )
    fields = raw.split(b"&")
    if len(fields) > _MAXIMUM_PARAMETERS:
        _refuse("The query has too many parameters.")
    query = tuple([_parameter(field) for field in fields])
    if len({name.lower() for name, _ in query}) != len(query):
        _refuse("A query parameter is given twice.")
    return query


def _parameter(raw: bytes) -> tuple[str, str]:
    raw_name, equals, raw_value = raw.partition(b"=")
    if not equals or b"=" in raw_value:
        _refuse("A query parameter must be written name=value, with an equals sign inside as %3D.")
    name, value = _decode_once(raw_name), _decode_once(raw_value)
    if len(name) > _MAXIMUM_NAME_BYTES or not _NAME.fullmatch(name):
        _refuse("A query parameter has no valid name.")
    if name.lower() == b"access_token":
        raise Denied(Reason.CREDENTIALS_AMBIGUOUS, "token in the query")
    if _NO_VALUE_BYTE.search(value):
        _refuse("A query value holds an encoded character that must not stand there.")
    return name.decode("ascii"), value.decode("ascii")


def _decode_once(raw: bytes) -> bytes:
    if b"%" not in raw:
        return raw
    if _BAD_ESCAPE.search(raw):
        _refuse("A percent sign is not followed by two hexadecimal digits.")
    return unquote_to_bytes(raw)


def _refuse(detail: str) -> NoReturn:
    # The target itself is no part of the note: it may hold a token that is in the wrong place.
    raise Denied(Reason.TARGET_MALFORMED, detail, detail=detail)
