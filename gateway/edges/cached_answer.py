"""An Entry -> an Answer for one of its readers, at the reader's pace and without a copy of the whole."""

from gateway.edges.cache_entries import Entries, Entry, View
from gateway.edges.held_answer import HeldAnswer
from gateway.stages.cache import Found, Sighting
from gateway.stages.forward import AnswerHead


class CachedAnswer(HeldAnswer):
    """Holds the entry until it is closed. `view` is what the client shall get, still without a coding."""

    def __init__(
        self, head: AnswerHead, body: bytes, lent: "Lent", view: View, sighting: Sighting
    ) -> None:
        super().__init__(head, body)
        self.lent = lent
        self.view = view
        self.sighting = sighting
        self.note = sighting.note

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
