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
_GZIP_FRAMING: Final = 31


def _zstd(data: bytes) -> bytes:
    return zstd.compress(data, _ZSTD_LEVEL)


def _gzip(data: bytes) -> bytes:
    return zlib.compress(data, _GZIP_LEVEL, wbits=_GZIP_FRAMING)


ENCODERS: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    {"zstd": _zstd, "gzip": _gzip}
)
