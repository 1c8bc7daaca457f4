"""Answers of slurmrestd, kept in memory: bounded in bytes, what is still being read counted too."""

from collections import OrderedDict
from collections.abc import Hashable
from itertools import islice

from gateway.slurm_api.list_index import ListIndex
from gateway.stages.forward import AnswerHead

Key = tuple[tuple[str, str], bytes, str]
"""(whose, target, media type)."""

_ENTRY_BYTES = 2048
"""What an entry takes besides its bodies, about."""
_LOOKS = 2
"""For each that comes: what is spent goes sooner than it comes."""


class View:
    """One body in all the codings that were asked for. None stands for a coding that is no shorter.

    `headers` are what only this part of an answer says. `index` is made when parts of it are asked for.
    """

    __slots__ = ("body", "forms", "headers", "index", "last_head", "tag")

    def __init__(
        self, body: bytes, tag: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        self.body = body
        self.tag = tag
        self.headers = headers
        self.index: ListIndex | None = None
        self.last_head: tuple[Hashable, AnswerHead] | None = None
        """The same for all who ask within a second."""
        self.forms: dict[str, bytes | None] = {}


class Entry:
    """An answer and what was made of it. `number` is its flight's; `since` is on a monotonic clock."""

    __slots__ = ("head", "is_dropped", "number", "readers", "since", "size", "spent_at", "views")

    def __init__(
        self, head: AnswerHead, view: View, number: int, since: float, spent_at: float
    ) -> None:
        self.head = head
        self.views: OrderedDict[Hashable, View] = OrderedDict({None: view})
        self.number = number
        self.since = since
        self.spent_at = spent_at
        """From then on nobody has any use for it."""
        self.size = _ENTRY_BYTES + len(view.body)
        self.readers = 0
        self.is_dropped = False

    @property
    def whole(self) -> View:
        """As slurmrestd gave it."""
        return self.views[None]

    @property
    def kind(self) -> bytes:
        """Its media type as slurmrestd named it, b"" where it did not."""
        return next((value for name, value in self.head.headers if name == b"content-type"), b"")


class Entries:
    """`maximum_bytes` in all: flights under way, entries, and dropped entries that somebody still reads."""

    def __init__(self, maximum_bytes: int) -> None:
        self.maximum = maximum_bytes
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        self.used = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Entry | None:
        """Whatever its age."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def reserve(self, length: int) -> bool:
        """Make room for a body of this length, if that is possible."""
        length += _ENTRY_BYTES
        if length > self.maximum:
            return False
        self.used += length
        self._shrink()
        if self.used <= self.maximum:
            return True
        self.used -= length
        return False

    def give_back(self, length: int) -> None:
        """What was reserved is not needed."""
        self.used -= length + _ENTRY_BYTES

    def put(self, key: Key, entry: Entry, now: float) -> None:
        """Into what was reserved for it. An entry of a later flight stays."""
        other = self._entries.get(key)
        if other is not None and other.number > entry.number:
            entry.is_dropped = True
            self.returned(entry)
            return
        if other is not None:
            self._drop(key)
        self._entries[key] = entry
        for oldest in list(islice(self._entries, _LOOKS)):
            if self._entries[oldest].spent_at <= now:
                self._drop(oldest)

    def grow(self, entry: Entry, length: int) -> None:
        """Something was made of it. Whoever made it reads it."""
        entry.size += length
        self.used += length
        self._shrink()

    def returned(self, entry: Entry) -> None:
        """One reader less, or none from the beginning."""
        if entry.is_dropped and not entry.readers:
            self.used -= entry.size

    def _shrink(self) -> None:
        while self.used > self.maximum and self._entries:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key)
        entry.is_dropped = True
        self.returned(entry)
