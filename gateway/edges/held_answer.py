"""A body in the gateway's own memory -> an Answer at its reader's pace, of which no reader holds a second copy."""

from gateway.edges.upstream_answer import Answer
from gateway.stages.forward import AnswerHead

_PIECE_BYTES = 262_144
_AT_ONCE_BYTES = 65_536
"""Longer bodies go in pieces: a client that does not read is noticed, and holds its request for as long."""


class HeldAnswer(Answer):
    """slurmrestd has nothing to do with it any more. `whole` is None for what goes in pieces."""

    def __init__(self, head: AnswerHead, body: bytes) -> None:
        super().__init__(head, body if len(body) <= _AT_ONCE_BYTES else None)
        self._body = body
        self._at = 0

    @property
    def is_over(self) -> bool:
        """See Answer."""
        return self.whole is not None or self._at >= len(self._body)

    @property
    def waits_for_reader(self) -> bool:
        """See Answer."""
        return False

    async def read(self) -> bytes:
        """See Answer."""
        piece = self._body[self._at : self._at + _PIECE_BYTES]
        self._at += len(piece)
        return piece

    async def read_all(self, most: int) -> bool:
        """See Answer."""
        if len(self._body) > most:
            return False
        self.whole = self._body
        return True
