"""Bytes -> the same in a content coding (RFC 9110 section 8.4.1), by whatever library Python comes with."""

import sys
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_ZSTD_LEVEL: Final = 3
_GZIP_LEVEL: Final = 1
"""A list of jobs shrinks to a tenth at these (measured); higher levels take much longer for little."""
_PART_BYTES: Final = 1_048_576
_GZIP_PART_LEVEL: Final = 6
"""Of a hundred jobs gzip leaves half as much at this, for a millisecond more; zstd has left less at its own."""
_GZIP_FRAMING: Final = 31

AT_ONCE_BYTES: Final[Mapping[str, int]] = MappingProxyType({"zstd": _PART_BYTES, "gzip": 65_536})
"""Bodies of this size take less than 1.5 ms; a thread would take as long to begin, and to be heard (measured)."""


def _zstd(data: bytes) -> bytes:
    return zstd.compress(data, _ZSTD_LEVEL)


def _gzip(data: bytes) -> bytes:
    level = _GZIP_PART_LEVEL if len(data) <= _PART_BYTES else _GZIP_LEVEL
    return zlib.compress(data, level, wbits=_GZIP_FRAMING)


ENCODERS: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    {"zstd": _zstd, "gzip": _gzip}
)
