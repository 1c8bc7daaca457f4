"""(AuthorizedCall, UpstreamCredential) -> the head sent to slurmrestd; its answer's head -> what a client may see."""

import re
from functools import lru_cache
from typing import NamedTuple

from gateway.model import AuthorizedCall, Risk, UpstreamCredential

MAXIMUM_HEAD_BYTES = 65_536
"""slurmrestd's own heads are under 200 bytes; more than this is not an answer."""
MAXIMUM_FIELDS = 64
_MAXIMUM_LENGTH_DIGITS = 15
FIRST_FINAL_STATUS = 200
_CREDENTIALS_REMEMBERED = 256
_WITHOUT_BODY = frozenset(
    {204, 304}
)  # RFC 9112 section 6.3: never a body, whatever the length says
_SWITCHING_PROTOCOLS = 101

# RFC 9112 sections 4 and 5 without the leniencies: CRLF only, no folding, no space before a colon.
_HEAD_SHAPE = re.compile(
    rb"HTTP/1\.[01] [1-5][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?\r\n"
    rb"(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n"
)
_HEAD_BEGIN = b"HTTP/1."
_PRINTABLE = re.compile(rb"[\x20-\x7e]*")

_OWN_HEADERS = (
    (b"via", b"1.1 slurm-gateway"),
    (b"cache-control", b"private, no-store"),
    (b"x-content-type-options", b"nosniff"),
)

HEAVY = frozenset(
    {
        Risk.READ_HEAVY,
        Risk.READ_ACCOUNTING,
        Risk.READ_SENSITIVE,
        Risk.READ_BULK,
        Risk.JOB_WRITE_BULK,
    }
)


class HeadInvalid(Exception):
    """The bytes are no answer head, or one with two readings."""


class AnswerHead(NamedTuple):
    """An answer's head. `length` is exact; `headers` are those a client gets, in lower case."""

    status: int
    length: int
    keep_alive: bool
    headers: tuple[tuple[bytes, bytes], ...]
    lines: bytes
    """The same headers as they stand in an answer."""

    @property
    def is_final(self) -> bool:
        """Not one of the 1xx that go before the answer."""
        return self.status >= FIRST_FINAL_STATUS


class Patience(NamedTuple):
    """Seconds until the first byte of an answer."""

    read_seconds: float
    write_seconds: float
    heavy_seconds: float

    def seconds_for(self, call: AuthorizedCall) -> float:
        """By what the call costs slurmrestd."""
        if call.risk in HEAVY:
            return self.heavy_seconds
        return self.write_seconds if may_change_state(call) else self.read_seconds


def may_change_state(call: AuthorizedCall) -> bool:
    """Whether sending the call twice could do something twice. Only reads of a READ class cannot."""
    return call.operation.changes_state or not call.risk.startswith("READ")


class RequestHead:
    """Writes heads for one slurmrestd. Nothing of the client's own header is in them."""

    def __init__(self, host: str) -> None:
        _check(host)
        self._fixed = f"Host: {host}\r\nVia: 1.1 slurm-gateway\r\n"
        self._identity = lru_cache(_CREDENTIALS_REMEMBERED)(_identity)

    def __call__(
        self,
        call: AuthorizedCall,
        credential: UpstreamCredential,
        accept: str = "application/json",
        media_type: str = "",
        length: int | None = None,
    ) -> bytes:
        """The whole head. `length` None means no body. Raises ValueError where a value could break it.

        Name and token are always both sent: 20.11 and 22.05 refuse a token without a name.
        """
        method, target = call.operation.method, call.target.decode("latin-1")
        _check(target, accept)
        return (
            f"{method} {target} HTTP/1.1\r\n{self._fixed}{self._identity(credential)}"
            f"Accept: {accept}\r\n{_framing(method, media_type, length)}\r\n"
        ).encode("ascii")


def _identity(credential: UpstreamCredential) -> str:
    user, token = credential.user, credential.token.reveal
    _check(user, token)
    return f"X-SLURM-USER-NAME: {user}\r\nX-SLURM-USER-TOKEN: {token}\r\n"


def _check(*values: str) -> None:
    """None of these is empty or holds a blank or a control character, so that each stays in its line."""
    whole = "".join(values)
    if not (all(values) and whole.isascii() and whole.isprintable()) or " " in whole:
        raise ValueError("a value would break the head")


def _framing(method: str, media_type: str, length: int | None) -> str:
    """One Content-Length of our own; a POST always has one, because slurmrestd asks for it."""
    if length is None:
        return "Content-Length: 0\r\n" if method == "POST" else ""
    _check(media_type)
    return f"Content-Type: {media_type}\r\nContent-Length: {length}\r\n"


def could_be_head(begin: bytes) -> bool:
    """Whether more bytes could still make an answer's head out of this."""
    return begin[: len(_HEAD_BEGIN)] == _HEAD_BEGIN[: len(begin)]


def read_head(head: bytes) -> AnswerHead:
    """Read a whole head, the empty line included. Raises HeadInvalid.

    A body must state its length: one that ends with the connection cannot be told from a cut one,
    and slurmrestd always states it. Transfer codings are refused for the same reason.
    """
    if len(head) > MAXIMUM_HEAD_BYTES or not _HEAD_SHAPE.fullmatch(head):
        raise HeadInvalid("not a well-formed head")
    line, *lines = head[:-4].split(b"\r\n")
    if len(lines) > MAXIMUM_FIELDS:
        raise HeadInvalid("too many fields")
    fields = [(name.lower(), value.strip(b" \t")) for name, _, value in _split(lines)]
    status = int(line[9:12])
    if status == _SWITCHING_PROTOCOLS or any(name == b"transfer-encoding" for name, _ in fields):
        raise HeadInvalid("an upgrade or a transfer coding was not asked for")
    has_body = status >= FIRST_FINAL_STATUS and status not in _WITHOUT_BODY
    stated = _stated_length(fields)
    if has_body and stated is None:
        raise HeadInvalid("the length is not stated")
    length = stated if has_body and stated is not None else 0
    keep_alive = line.startswith(b"HTTP/1.1") and not _closes(fields)
    headers = _client_headers(fields, length, has_body)
    return AnswerHead(status, length, keep_alive, headers, _written(headers))


def own_head(status: int, length: int, headers: tuple[tuple[bytes, bytes], ...]) -> AnswerHead:
    """The head of an answer that the gateway gives in slurmrestd's stead."""
    sized = headers if status in _WITHOUT_BODY else (*headers, (b"content-length", b"%d" % length))
    return AnswerHead(status, length, True, sized, _written(sized))


def with_length(head: AnswerHead, length: int) -> AnswerHead:
    """The same head for a body of another length."""
    headers = tuple(
        (name, b"%d" % length if name == b"content-length" else value)
        for name, value in head.headers
    )
    return head._replace(length=length, headers=headers, lines=_written(headers))


def _written(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join([b"%b: %b\r\n" % pair for pair in headers])


def _split(lines: list[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    return [line.partition(b":") for line in lines]


def _stated_length(fields: list[tuple[bytes, bytes]]) -> int | None:
    stated = [value for name, value in fields if name == b"content-length"]
    if not stated:
        return None
    if len(stated) > 1 or not stated[0].isdigit() or len(stated[0]) > _MAXIMUM_LENGTH_DIGITS:
        raise HeadInvalid("the length is not stated in exactly one way")
    return int(stated[0])


def _closes(fields: list[tuple[bytes, bytes]]) -> bool:
    named = b",".join(value for name, value in fields if name == b"connection").lower()
    return b"close" in [option.strip(b" \t") for option in named.split(b",")]


def _client_headers(
    fields: list[tuple[bytes, bytes]], length: int, has_body: bool
) -> tuple[tuple[bytes, bytes], ...]:
    """The media type, our own length, and what the gateway says of every answer. Nothing else passes."""
    kinds = [value for name, value in fields if name == b"content-type"]
    kind = kinds[0] if kinds and _PRINTABLE.fullmatch(kinds[0]) else b""
    passed = ((b"content-type", kind),) if kind else ()
    sized = ((b"content-length", b"%d" % length),) if has_body else ()
    return passed + sized + _OWN_HEADERS
