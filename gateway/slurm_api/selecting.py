"""(items of a list, one after the other) -> those that are wanted, with the fields that are wanted, a page of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from gateway.model import Selection
from gateway.slurm_api.cursor import write_cursor
from gateway.slurm_api.lenient_json import loads
from gateway.slurm_api.selection import LISTINGS, Matcher, Paths, identity_of, texts_at

Tree = dict[str, "Tree | None"]
Piece = bytes | bytearray | memoryview


class FieldUnknown(ValueError):
    """No item has this field. `known` is what stands in its place."""

    def __init__(self, path: str, known: tuple[str, ...]) -> None:
        super().__init__(path)
        self.path = path
        self.known = known


class FilterUnknown(ValueError):
    """No item says what the filter asks for: nodes of Slurm 20.11 have no partitions, its accounting has no states."""


class TooMuch(ValueError):
    """What is wanted takes more memory than there is for it."""


class Page(NamedTuple):
    """`pieces` together are its items with commas between. `total` counts what fits, on all pages. `cursor` is ""
    where nothing follows.
    """

    pieces: tuple[Piece, ...]
    total: int
    cursor: str

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What the answer says of it."""
        total = (b"gateway-total", b"%d" % self.total)
        return (
            (total, (b"gateway-cursor", self.cursor.encode("ascii"))) if self.cursor else (total,)
        )


class Collector:
    """Takes each item of a list in turn; `page` at the end.

    Whole items are copied once, by whoever joins the pieces. Fields are written into one buffer: tens of thousands
    of small objects, between which large ones come and go, take many times their own room.
    """

    def __init__(self, selection: Selection, matcher: Matcher, most_bytes: int) -> None:
        self._listing = LISTINGS[selection.operation]
        self._matches = matcher
        self._most_bytes = most_bytes
        self._limit = selection.limit
        self._place, self._name = selection.cursor or (0, "")
        self._has_cursor = selection.cursor is not None
        self._is_found = False
        self._total = 0
        self._begin = 0
        self._tree = tree_of(selection.fields)
        self._pieces: list[Piece] = []
        self._picked = bytearray()
        self._bytes = self._count = 0
        self._last_name = ""

    def offer(
        self, item: dict[str, Any], raw: Callable[[], bytes | memoryview], *, is_whole: bool
    ) -> bool:
        """Whether it is on the page, as far as is known. Raises TooMuch.

        Unless it `is_whole`, `item` has only the members that filters look at.
        """
        if not self._matches(item):
            return False
        place, name = self._total, identity_of(self._listing, item)
        self._total += 1
        if self._has_cursor:
            # the last one shown: where it has moved to, or where it was, if it is gone
            if name == self._name and (place < self._place or not self._is_found):
                self._is_found = True
                self._restart(place + 1)
                return False
            if place < self._place and not self._is_found:
                self._restart(place + 1)
                return False
        if self._limit and self._count >= self._limit:
            return False
        shown = raw()
        if self._tree:
            shown = orjson.dumps(_pick(item if is_whole else loads(shown), self._tree))
        self._bytes += len(shown)
        if self._bytes > self._most_bytes:
            raise TooMuch
        self._add(shown)
        self._count += 1
        self._last_name = name
        return True

    def _add(self, shown: bytes | memoryview) -> None:
        comma = b"," if self._count else b""
        if self._tree:
            self._picked += comma
            self._picked += shown
        else:
            self._pieces += (comma, shown)

    def _restart(self, begin: int) -> None:
        self._pieces.clear()
        self._picked.clear()
        self._begin, self._bytes, self._count = begin, 0, 0

    def page(self) -> Page:
        """Whole items as they came; single fields are written anew."""
        behind = self._begin + self._count
        cursor = ""
        if self._count and behind < self._total:
            cursor = write_cursor(behind, self._last_name)
        return Page((*self._pieces, self._picked), self._total, cursor)


def tree_of(fields: Paths) -> Tree:
    """{"job_id": None, "time": {"start": None}}; a whole member wins over a part of it."""
    tree: Tree = {}
    for path in sorted(fields, key=len):
        here: Tree | None = tree
        for name in path[:-1]:
            if here is not None:
                here = here.setdefault(name, {})
        if here is not None:
            here[path[-1]] = None
    return tree


def _pick(value: Any, tree: Tree | None) -> Any:
    """Inside of lists the same of each member; what is null stays null."""
    if tree is None:
        return value
    if isinstance(value, list):
        return [_pick(one, tree) for one in value]
    if isinstance(value, dict):
        return {name: _pick(value[name], below) for name, below in tree.items() if name in value}
    return value


class FieldCheck:
    """Is there an item that has each of the fields, and what each filter looks at? They are the same for all
    items of a version.
    """

    def __init__(self, selection: Selection) -> None:
        listing = LISTINGS[selection.operation]
        self._open = list(selection.fields)
        self._filters = {name: listing.places[name] for name, _ in selection.wanted}
        self._states = frozenset(listing.states)
        self._has_looked = False
        self._missing: dict[tuple[str, ...], tuple[str, ...]] = {}

    @property
    def is_done(self) -> bool:
        """Every field was seen."""
        return not self._open and not self._filters

    def look(self, item: dict[str, Any]) -> None:
        """At one whole item."""
        self._has_looked = True
        for name, places in tuple(self._filters.items()):
            if self._says(item, name, places):
                del self._filters[name]
        for path in tuple(self._open):
            known = _missing(item, path)
            if known is None:
                self._open.remove(path)
                self._missing.pop(path, None)
            elif known:
                self._missing[path] = known

    def _says(self, item: dict[str, Any], name: str, places: Paths) -> bool:
        """The accounting of 20.11 gives the names of reasons for states, which no state that can be asked for is."""
        if name == "state":
            said = {text.upper() for place in places for text in texts_at(item, place)}
            return not said.isdisjoint(self._states)
        return any(place[0] in item for place in places)

    def finish(self) -> None:
        """Raises FieldUnknown, FilterUnknown. Of what stands in no item that could have it, nobody knows."""
        if self._has_looked and self._filters:
            raise FilterUnknown(next(iter(self._filters)))
        for path, known in self._missing.items():
            raise FieldUnknown(".".join(path), known)


def _missing(value: Any, path: tuple[str, ...]) -> tuple[str, ...] | None:
    """None where the field is there; otherwise the names in its place, none if that is empty."""
    for depth, name in enumerate(path):
        if isinstance(value, list):
            found = [_missing(one, path[depth:]) for one in value]
            return None if None in found else next((one for one in found if one), ())
        if not isinstance(value, dict):
            return ()
        if name not in value:
            return tuple(sorted(value))
        value = value[name]
    return None
