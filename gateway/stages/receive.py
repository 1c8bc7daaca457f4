"""(method, raw target, raw header fields, peer) -> InboundRequest, or Denied. The head alone.

Nothing of a header is handed on but what InboundRequest names: whatever else a client sends
(identity headers in any spelling, hop-by-hop fields, cookies) ends here.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from gateway.denial import Denied, Reason
from gateway.model import Browser, CacheWish, InboundRequest, Secret, Target
from gateway.request.browser import read_browser
from gateway.request.cache_wish import read_wish
from gateway.request.client_address import ClientAddress
from gateway.request.host import is_valid_host
from gateway.request.idempotency_key import read_key
from gateway.request.media_type import JSON, YAML, answer_type, body_type
from gateway.request.target import canonical_target

METHODS: Final = ("GET", "POST", "DELETE")

_TOKEN_BYTES: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
"""RFC 9110 section 5.6.2, in lower case as ASGI asks."""
_VALUE_BYTES: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""RFC 9110 section 5.5: no CR, LF, NUL or other control character."""
_B64TOKEN_BYTES: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
"""RFC 6750 section 2.1, without the padding that may follow."""

_SCHEME_BYTES: Final = _TOKEN_BYTES + b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_LISTS: Final = frozenset({b"accept", b"x-forwarded-for", b"if-none-match"})
"""Read fields that may come several times, which means the same as once with commas."""
_BROWSERS: Final = frozenset({b"cookie", b"sec-fetch-site", b"sec-fetch-mode", b"origin"})
"""Read where people can sign in, and only from browsers."""
_CACHING: Final = frozenset({b"accept-encoding", b"cache-control"})
"""Read where answers are kept. Lists, too."""
_REPEATED: Final = {
    b"host": Reason.HOST_INVALID,
    b"authorization": Reason.CREDENTIALS_AMBIGUOUS,
    b"content-length": Reason.FRAMING_INVALID,
    b"transfer-encoding": Reason.FRAMING_INVALID,
    b"content-type": Reason.HEADER_MALFORMED,
    b"content-encoding": Reason.HEADER_MALFORMED,
    b"expect": Reason.HEADER_MALFORMED,
    b"idempotency-key": Reason.IDEMPOTENCY_KEY_INVALID,
}
"""Read fields that may come once, and what a second one means."""
_READ: Final = _LISTS | _REPEATED.keys() | _BROWSERS

_MAXIMUM_AUTHORIZATION_BYTES: Final = 16384
_MAXIMUM_LENGTH_DIGITS: Final = 15
_MAXIMUM_FORWARDED_BYTES: Final = 1024
_MAXIMUM_CACHED_BYTES: Final = 512
_FIELD_OVERHEAD_BYTES: Final = len(b": \r\n")


class Receive:
    """The first stage. Pure, and the same whichever server read the bytes.

    Caches canonical targets and parsed values, bounded; only what was found good is kept.
    """

    def __init__(
        self,
        *,
        maximum_url_bytes: int = 8192,
        maximum_header_bytes: int = 32768,
        maximum_header_fields: int = 100,
        trusted_proxies: Sequence[str] = (),
        trust_unix_peer: bool = True,
        accept_yaml: bool = False,
        has_sessions: bool = False,
        has_cache: bool = False,
    ) -> None:
        self._maximum_url_bytes = maximum_url_bytes
        self._maximum_header_bytes = maximum_header_bytes
        self._maximum_header_fields = maximum_header_fields
        self._has_sessions = has_sessions
        self._has_cache = has_cache
        self._read = _READ | _CACHING if has_cache else _READ
        self._body_types = (JSON, YAML) if accept_yaml else (JSON,)
        self._client_address = ClientAddress(trusted_proxies, trust_unix_peer=trust_unix_peer)
        self._cached_target = lru_cache(maxsize=4096)(canonical_target)
        self._is_valid_host = lru_cache(maxsize=256)(is_valid_host)
        self._answer_type = lru_cache(maxsize=256)(answer_type)
        self._wish = lru_cache(maxsize=256)(read_wish)

    def __call__(
        self,
        method: str,
        raw_target: bytes,
        raw_headers: Sequence[tuple[bytes, bytes]],
        peer: str | None,
        request_id: str,
    ) -> InboundRequest:
        """Read one request head. `raw_headers` as ASGI has them: names in lower case.

        `peer` is the address of the socket's other end, None for a UNIX socket. Raises Denied with
        one of the reasons that denial.py lists under receive, or CREDENTIALS_AMBIGUOUS or
        AUTHORIZATION_MALFORMED.
        """
        fields = self._fields(raw_headers)
        if method not in METHODS:
            raise Denied(Reason.METHOD_NOT_ALLOWED, headers=(("Allow", ", ".join(METHODS)),))
        if not self._is_valid_host(fields.get(b"host", b"")):
            raise Denied(Reason.HOST_INVALID)
        target = self._target(raw_target)
        length = _length(fields)
        accept = self._answer_type(fields.get(b"accept", b""))
        if accept is None:
            raise Denied(Reason.NOT_ACCEPTABLE)
        forwarded_for = fields.get(b"x-forwarded-for", b"")
        return InboundRequest(
            request_id,
            method,
            target,
            _bearer(fields.get(b"authorization")),
            accept,
            length,
            "" if length == 0 else self._media_type(fields),
            _expects_continue(fields) and length != 0,
            self._client_address(peer, forwarded_for),
            _printable_tail(forwarded_for),
            _idempotency_key(fields.get(b"idempotency-key")),
            _browser(fields) if self._has_sessions else None,
            fields.get(b"if-none-match", b"").decode("latin-1"),
            self._cache_wish(fields) if self._has_cache else None,
        )

    def client(
        self, raw_headers: Sequence[tuple[bytes, bytes]], peer: str | None
    ) -> tuple[str, str]:
        """(client_address, forwarded_for) for the record of a head that was refused."""
        forwarded_for = b", ".join(
            [value.strip(b" \t") for name, value in raw_headers if name == b"x-forwarded-for"]
        )
        return self._client_address(peer, forwarded_for), _printable_tail(forwarded_for)

    def _fields(self, raw_headers: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        """The fields that are read, after all of them were checked for their size and their bytes."""
        names = [name for name, _ in raw_headers]
        all_names = b"".join(names)
        all_values = b"".join([value for _, value in raw_headers])
        count = len(names)
        size = len(all_names) + len(all_values) + count * _FIELD_OVERHEAD_BYTES
        if count > self._maximum_header_fields or size > self._maximum_header_bytes:
            raise Denied(Reason.HEADERS_TOO_LARGE)
        if all_names.translate(None, _TOKEN_BYTES) or b"" in names:
            raise Denied(Reason.HEADER_MALFORMED, "a field name is no token")
        if all_values.translate(None, _VALUE_BYTES):
            raise Denied(Reason.HEADER_MALFORMED, "a field value holds a control character")
        fields: dict[bytes, bytes] = {}
        read = self._read
        for name, value in raw_headers:
            if name in read:
                value = value.strip(b" \t")  # noqa: PLW2901  # OWS is no part of the value
                fields[name] = _joined(name, fields[name], value) if name in fields else value
        return fields

    def _target(self, raw: bytes) -> Target:
        if len(raw) > self._maximum_url_bytes:
            raise Denied(Reason.TARGET_TOO_LONG)
        if len(raw) > _MAXIMUM_CACHED_BYTES:
            return canonical_target(raw)
        return self._cached_target(raw)

    def _cache_wish(self, fields: dict[bytes, bytes]) -> CacheWish:
        return self._wish(fields.get(b"accept-encoding", b""), fields.get(b"cache-control", b""))

    def _media_type(self, fields: dict[bytes, bytes]) -> str:
        media_type = body_type(fields.get(b"content-type", b""))
        is_coded = b"content-encoding" in fields
        if media_type is None or media_type not in self._body_types or is_coded:
            # RFC 9110 section 15.5.16: say which types would do.
            raise Denied(
                Reason.MEDIA_TYPE_UNSUPPORTED,
                detail=f"The body must be {' or '.join(self._body_types)} without content coding.",
                headers=(("Accept", ", ".join(self._body_types)),),
            )
        return media_type


def _joined(name: bytes, first: bytes, second: bytes) -> bytes:
    if name in _REPEATED:
        raise Denied(_REPEATED[name], f"{name.decode()} is repeated")
    return first + (b"; " if name == b"cookie" else b", ") + second


def _length(fields: dict[bytes, bytes]) -> int | None:
    """Bytes of the body: None if chunked, 0 without one (RFC 9112 section 6.3).

    The grammar is checked on the digits themselves, for int() takes "+5" and "1_0".
    """
    declared, coding = fields.get(b"content-length"), fields.get(b"transfer-encoding")
    if coding is not None:
        if declared is not None or coding.lower() != b"chunked":
            raise Denied(Reason.FRAMING_INVALID, "transfer coding")
        return None
    if declared is None:
        return 0
    if not declared.isdigit() or len(declared) > _MAXIMUM_LENGTH_DIGITS:
        raise Denied(Reason.FRAMING_INVALID, "content length")
    return int(declared)


def _bearer(value: bytes | None) -> Secret | None:
    """The presented token, None where another scheme or nothing was presented (RFC 6750 2.1)."""
    if value is None:
        return None
    if len(value) > _MAXIMUM_AUTHORIZATION_BYTES:
        raise Denied(Reason.AUTHORIZATION_MALFORMED, "too long")
    scheme, _, token = value.partition(b" ")
    if not scheme or scheme.translate(None, _SCHEME_BYTES):
        raise Denied(Reason.AUTHORIZATION_MALFORMED, "no scheme")
    if scheme.lower() != b"bearer":
        return None
    unpadded = token.rstrip(b"=")
    if not unpadded or unpadded.translate(None, _B64TOKEN_BYTES):
        raise Denied(Reason.AUTHORIZATION_MALFORMED, "no b64token after one space")
    return Secret(token.decode("ascii"))


def _expects_continue(fields: dict[bytes, bytes]) -> bool:
    expectation = fields.get(b"expect")
    if expectation is None:
        return False
    if expectation.lower() != b"100-continue":
        raise Denied(Reason.EXPECTATION_UNKNOWN)
    return True


def _idempotency_key(value: bytes | None) -> str:
    """The key, "" where none was sent."""
    if value is None:
        return ""
    key = read_key(value)
    if key is None:
        raise Denied(Reason.IDEMPOTENCY_KEY_INVALID)
    return key


def _browser(fields: dict[bytes, bytes]) -> Browser | None:
    """What a browser presents; a session beside other credentials is no session (RFC 6750 section 2)."""
    cookie, mode = fields.get(b"cookie", b""), fields.get(b"sec-fetch-mode", b"")
    if not cookie and not mode:
        return None
    browser = read_browser(
        cookie, fields.get(b"sec-fetch-site", b""), mode, fields.get(b"origin", b"")
    )
    if browser is not None and browser.session is not None and b"authorization" in fields:
        detail = "Send a session cookie or an Authorization header, not both."
        raise Denied(Reason.CREDENTIALS_AMBIGUOUS, "session and authorization", detail=detail)
    return browser


def _printable_tail(value: bytes) -> str:
    """The end of a raw value, where trusted proxies write, with a "?" for each unprintable byte."""
    if not value:
        return ""
    text = value[-_MAXIMUM_FORWARDED_BYTES:].decode("latin-1")
    return "".join([char if " " <= char <= "~" else "?" for char in text])
