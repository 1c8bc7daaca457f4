"""Bytes that follow a head -> how many of them belong to its body. A second opinion on framing.

The HTTP parser delivers the bodies; these count along, stricter than it. Where the two disagree,
the connection ends: what one reader takes for a body, another may take for a request.
"""

import re
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, Protocol

from gateway.denial import Denied, Reason

MAXIMUM_CHUNK_LINE_BYTES: Final = 256
"""A chunk size with its extensions, which nobody needs and RFC 9112 section 7.1.1 says to limit."""

_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t\x20-\x7e]*)?\r\n")
_LINE_END: Final = b"\r\n"
_MAXIMUM_LENGTH_DIGITS: Final = 15


class BodyFraming(Protocol):
    """Where one body ends."""

    @property
    def is_complete(self) -> bool: ...

    def take(self, data: bytes) -> int:
        """How many bytes of `data`, from its start, belong to the body. Raises Denied."""
        ...


def body_framing(fields: Mapping[bytes, bytes], *, is_1_1: bool) -> BodyFraming | None:
    """Where the body ends that these fields announce; None if they announce none.

    Exactly "chunked", and not from an HTTP/1.0 client, which cannot mean it (RFC 9112 section 6.1).
    Raises Denied(FRAMING_INVALID).
    """
    length, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or not is_1_1 or coding.lower() != b"chunked":
            raise Denied(Reason.FRAMING_INVALID, "transfer coding")
        return ChunkedBody()
    if length is None:
        return None
    if not length.isdigit() or len(length) > _MAXIMUM_LENGTH_DIGITS:
        raise Denied(Reason.FRAMING_INVALID, "content length")
    return SizedBody(int(length)) if int(length) else None


class SizedBody:
    """A body with a Content-Length."""

    def __init__(self, length: int) -> None:
        self._missing = length

    @property
    def is_complete(self) -> bool:
        """Whether all of it has been taken."""
        return self._missing == 0

    def take(self, data: bytes) -> int:
        """See BodyFraming."""
        taken = min(self._missing, len(data))
        self._missing -= taken
        return taken


class _Part(Enum):
    SIZE = auto()
    DATA = auto()
    END = auto()
    NOTHING = auto()


class ChunkedBody:
    """A chunked body (RFC 9112 section 7.1): sizes in hexadecimal, short extensions, no trailers.

    Trailers are refused because they would be header fields that no stage has seen.
    """

    def __init__(self) -> None:
        self._part = _Part.SIZE
        self._line = b""
        self._missing = 0

    @property
    def is_complete(self) -> bool:
        """Whether the last chunk and the empty line behind it have been taken."""
        return self._part is _Part.NOTHING

    def take(self, data: bytes) -> int:
        """See BodyFraming."""
        position = 0
        while position < len(data) and self._part is not _Part.NOTHING:
            if self._part is _Part.DATA:
                position += self._take_data(len(data) - position)
            else:
                position = self._take_line(data, position)
        return position

    def _take_data(self, available: int) -> int:
        taken = min(self._missing, available)
        self._missing -= taken
        if not self._missing:
            self._part = _Part.SIZE
        return taken

    def _take_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position, position + MAXIMUM_CHUNK_LINE_BYTES) + 1
        self._line += data[position : end or position + MAXIMUM_CHUNK_LINE_BYTES]
        if len(self._line) > MAXIMUM_CHUNK_LINE_BYTES or (
            not end and len(self._line) == MAXIMUM_CHUNK_LINE_BYTES
        ):
            raise Denied(Reason.FRAMING_INVALID, "the line of a chunk's size is too long")
        if not end:
            self._check_beginning()
            return len(data)
        self._end_line()
        return end

    def _end_line(self) -> None:
        line, self._line = self._line, b""
        if self._part is _Part.END:
            if line != _LINE_END:
                raise Denied(Reason.FRAMING_INVALID, "a chunked body with trailers")
            self._part = _Part.NOTHING
            return
        match = _CHUNK_LINE.fullmatch(line)
        if not match:
            raise Denied(Reason.FRAMING_INVALID, "a chunk's size cannot be read")
        size = int(match[1], 16)
        self._part = _Part.DATA if size else _Part.END
        self._missing = size + len(_LINE_END)

    def _check_beginning(self) -> None:
        """Refuse a trailer by its first byte instead of waiting for its end."""
        if self._part is _Part.END and not _LINE_END.startswith(self._line):
            raise Denied(Reason.FRAMING_INVALID, "a chunked body with trailers")
