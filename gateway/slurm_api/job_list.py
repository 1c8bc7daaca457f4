"""Pieces of an answer's JSON -> the jobs (or other items) in it, one by one, and everything around them, as it came.

Nothing is parsed but single jobs, and nothing is written anew: what is kept is kept byte for byte.
Memory is bounded by what is kept and by the largest job.
"""

import re
from collections.abc import Callable

import orjson

_TEXT = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(rb'[^"{}\[\]]*(' + _TEXT + rb'|[{}\[\]]|")', re.DOTALL)
"""The next text or bracket; a lone quotation mark where a text has not ended yet."""
_BRACKET = re.compile(rb'[^"{}\[\]]*(?:' + _TEXT + rb'[^"{}\[\]]*)*([{}\[\]]|")', re.DOTALL)
"""The next bracket outside of texts; the last text's quotation mark where none follows yet."""
_BLANKS = re.compile(rb"[ \t\r\n]*")
_COMMA = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*")
_MAXIMUM_DEPTH = 64
_IN_TOP, _IN_LIST = 1, 2


class ListRefused(ValueError):
    """No answer whose jobs can be told apart for certain."""


class ListTooLarge(ListRefused):
    """More is kept than there is room for."""


class JobList:
    """One answer on its way through. `keep` says of each job whether it stays."""

    def __init__(
        self,
        keep: Callable[[bytes], bool],
        *,
        most_bytes: int,
        most_job_bytes: int,
        member: str = "jobs",
    ) -> None:
        self.list_at = 0
        """Where in the result the list begins, inside of its bracket."""
        self._member = member
        self.kept = 0
        self.dropped = 0
        self._keep = keep
        self._most_bytes = most_bytes
        self._most_job_bytes = most_job_bytes
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._rest = b""
        self._scanned = 0
        self._open = bytearray()
        self._name = b""
        self._is_list = False
        self._is_first = True
        self._is_behind_job = False
        self._is_over = False

    def feed(self, piece: bytes) -> None:
        """Take some bytes. Raises ListRefused."""
        self._rest += piece
        data, position, begin = self._rest, self._scanned, 0
        while True:
            is_in_job = self._is_list and len(self._open) > _IN_LIST
            token = (_BRACKET if is_in_job else _TOKEN).match(data, position)
            if token is None:
                position = len(data)
                break
            if token[1] == b'"':
                position = token.start(1)
                break  # a text that has not ended yet
            begin = self._take(data, begin, token)
            position = token.end()
        if not self._is_list:
            # up to where scanning stopped; what is left is half a text at most
            self._copy(data[begin:position])
            begin = position
        self._rest, self._scanned = data[begin:], position - begin
        if len(self._rest) > self._most_job_bytes:
            raise ListTooLarge("one job")

    def finish(self) -> bytes:
        """The answer with the jobs that stay. Raises ListRefused where it is no whole JSON object."""
        if not self._is_over or self._rest.strip():
            raise ListRefused("not one JSON object")
        return b"".join(self._out)

    def _take(self, data: bytes, begin: int, token: "re.Match[bytes]") -> int:
        """One token; the place from which bytes are not copied yet."""
        text = token[1]
        if text[0] == ord('"'):
            if len(self._open) == _IN_TOP:
                self._name = text
            elif self._is_list and len(self._open) == _IN_LIST:
                raise ListRefused("a job that is no object")
            return begin
        if text in b"{[":
            return self._enter(data, begin, token)
        return self._leave(data, begin, token)

    def _enter(self, data: bytes, begin: int, token: "re.Match[bytes]") -> int:
        depth = len(self._open)
        if self._is_over or depth >= _MAXIMUM_DEPTH or (not depth and token[1] != b"{"):
            raise ListRefused("not one JSON object")
        if not depth and data[begin : token.start(1)].strip():
            raise ListRefused("not one JSON object")
        if self._is_list and depth == _IN_LIST:
            between = _COMMA if self._is_behind_job else _BLANKS
            if token[1] != b"{" or not between.fullmatch(data, begin, token.start(1)):
                raise ListRefused("a job that is no object")
            begin = token.start(1)  # what stood between two jobs is written anew
        self._open += token[1]
        if depth == _IN_TOP and self._is_member(self._name):
            if token[1] != b"[":
                raise ListRefused("jobs that are no list")
            self._is_list, self._is_first, self._is_behind_job = True, True, False
            self._copy(data[begin : token.end()])
            self.list_at = self._out_bytes
            return token.end()
        return begin

    def _is_member(self, name: bytes) -> bool:
        """By what the text says: an escape in it changes nothing."""
        if b"\\" not in name:
            return name[1:-1].decode("latin-1") == self._member
        try:
            return bool(orjson.loads(name) == self._member)
        except orjson.JSONDecodeError:
            return True

    def _leave(self, data: bytes, begin: int, token: "re.Match[bytes]") -> int:
        if not self._open or bytes(self._open[-1:]) + token[1] not in (b"{}", b"[]"):
            raise ListRefused("brackets that do not fit")
        del self._open[-1]
        depth = len(self._open)
        if not depth:
            self._is_over = True
        if not self._is_list:
            return begin
        if depth == _IN_LIST:
            self._judge(data[begin : token.end()])
            self._is_behind_job = True
            return token.end()
        if depth == _IN_TOP:
            if not _BLANKS.fullmatch(data, begin, token.start(1)):
                raise ListRefused("a job that is no object")
            self._is_list, self._name = False, b""
            return token.start(1)
        return begin

    def _judge(self, job: bytes) -> None:
        if not self._keep(job):
            self.dropped += 1
            return
        self.kept += 1
        self._copy(job if self._is_first else b"," + job)
        self._is_first = False

    def _copy(self, piece: bytes) -> None:
        if not piece:
            return
        if not self._open and not self._is_over and piece.strip():
            raise ListRefused("not one JSON object")
        if self._is_over and piece.rpartition(b"}")[2].strip():
            raise ListRefused("more than one JSON object")
        self._out_bytes += len(piece)
        if self._out_bytes > self._most_bytes:
            raise ListTooLarge("all jobs that stay")
        self._out.append(piece)
