"""An Entry -> an Answer for one of its readers, at the reader's pace and without a copy of the whole."""

from gateway.edges.cache_entries import Entries, Entry, View
from gateway.edges.upstream_answer import Answer
from gateway.stages.cache import Found, Sighting
from gateway.stages.forward import AnswerHead

_PIECE_BYTES = 262_144
_AT_ONCE_BYTES = 65_536
"""Longer bodies go in pieces: a client that does not read holds a piece, and not a body of its own."""


class CachedAnswer(Answer):
    """Holds the entry until it is closed. `view` is what the client shall get, still without a coding."""

    def __init__(
        self, head: AnswerHead, body: bytes, lent: "Lent", view: View, sighting: Sighting
    ) -> None:
        super().__init__(head, body if len(body) <= _AT_ONCE_BYTES else None)
        self.lent = lent
        self.view = view
        self.sighting = sighting
        self.note = sighting.note
        self._body = body
        self._at = 0

    @property
    def is_over(self) -> bool:
        """See Answer."""
        return self.whole is not None or self._at >= len(self._body)

    @property
    def waits_for_reader(self) -> bool:
        """slurmrestd has nothing to do with it any more."""
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

    def close(self) -> None:
        """See Answer."""
        self.lent.give_back()


class Lent:
    """An entry in somebody's hands; given back once."""

    __slots__ = ("_entries", "_is_held", "entry")

    def __init__(self, entries: Entries, entry: Entry) -> None:
        self._entries = entries
        self._is_held = True
        self.entry = entry
        entry.readers += 1

    def again(self) -> "Lent":
        """The same for another reader."""
        return Lent(self._entries, self.entry)

    def grow(self, length: int) -> None:
        """Something was made of it."""
        self._entries.grow(self.entry, length)

    def give_back(self) -> None:
        """Not read any more."""
        if self._is_held:
            self._is_held = False
            self.entry.readers -= 1
            self._entries.returned(self.entry)


_UNSEEN = Sighting(Found.HIT)


def plain_answer(lent: Lent, sighting: Sighting = _UNSEEN) -> CachedAnswer:
    """As slurmrestd gave it, for whatever filters it before it goes out."""
    view = lent.entry.whole
    return CachedAnswer(lent.entry.head, view.body, lent, view, sighting)
