"""A whole answer in memory -> where each item of its list begins and ends, and what filters look at of it.

Read with the standard library's scanner, because it says where a value ends: items go out as they came.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, NoReturn

from gateway.model import Selection
from gateway.slurm_api.selection import Listing, texts_at

_BLANKS: Final = " \t\r\n"
_ITEM_BYTES: Final = 600
"""What the index of an item takes, about."""


class ListUnreadable(ValueError):
    """No answer whose items can be told apart for certain."""


class Item(NamedTuple):
    """Where it stands in the body, and the members that filters look at."""

    begin: int
    end: int
    summary: dict[str, Any]


def _no_constant(name: str) -> NoReturn:
    raise ListUnreadable(name)


_DECODER: Final = json.JSONDecoder(parse_constant=_no_constant)


class ListIndex:
    """Built by `step` until `is_whole`, so that others are served in between. `begin`, `end`: inside the brackets."""

    def __init__(self, body: bytes, listing: Listing) -> None:
        """Raises ListUnreadable, as `step` does."""
        self.body = body
        self.items: list[Item] = []
        self._groups: dict[tuple[str, str], list[int]] = {}
        self.begin = self.end = 0
        self.is_whole = False
        self._text = body.decode(
            "latin-1"
        )  # a character for each byte, so that places are the same
        self._member = listing.member
        self._places = listing.places
        self._kept = frozenset(
            {listing.identity, "user_id"}
            | {path[0] for paths in listing.places.values() for path in paths}
        )
        self._at = self._members(self._behind(0, "{"))

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return _ITEM_BYTES * len(self.items)

    def step(self, most_bytes: int) -> None:
        """Read items of about so many bytes."""
        until = self._at + most_bytes
        while not self.is_whole and self._at < until:
            self._one()

    def _one(self) -> None:
        text, at = self._text, self._blanks(self._at)
        if text[at : at + 1] == "]" and not self.items:
            self._finish(at)
            return
        item, end = self._value(at)
        if not isinstance(item, dict):
            raise ListUnreadable("an item that is no object")
        kept = self._kept
        summary = {name: value for name, value in item.items() if name in kept}
        self._group(len(self.items), summary)
        self.items.append(Item(at, end, summary))
        at = self._blanks(end)
        if text[at : at + 1] == ",":
            self._at = at + 1
        else:
            self._finish(at)

    def _group(self, number: int, summary: dict[str, Any]) -> None:
        """Under each of its values for each filter, or under none."""
        for name, places in self._places.items():
            texts = {text for place in places for text in texts_at(summary, place)} or {""}
            for text in texts:
                self._groups.setdefault((name, text.upper()), []).append(number)

    def candidates(self, selection: Selection) -> list[Item]:
        """Items among which are all that are wanted, in their order: those of the filter that leaves fewest."""
        found: Sequence[int] = range(len(self.items))
        for name, wanted in selection.wanted:
            # who has no name may be meant by a number (20.11)
            keys = {(name, text.upper()) for text in wanted} | {(name, "")}
            numbers = {number for key in keys for number in self._groups.get(key, ())}
            if len(numbers) < len(found):
                found = sorted(numbers)
        return [self.items[number] for number in found]

    def _finish(self, at: int) -> None:
        """The rest of the envelope, which must not have the list a second time."""
        self.end = at
        at = self._blanks(self._behind(at, "]"))
        if self._text[at : at + 1] == ",":
            at = self._members(self._blanks(at + 1), is_behind=True)
        if self._blanks(self._behind(at, "}")) != len(self._text):
            raise ListUnreadable("more than one JSON object")
        self.is_whole = True
        self._text = ""

    def _members(self, at: int, *, is_behind: bool = False) -> int:
        """Over members of the envelope: to the list, or behind it to the end of the object."""
        while True:
            name, at = self._value(self._blanks(at))
            at = self._blanks(self._behind(self._blanks(at), ":"))
            if name == self._member:
                if is_behind:
                    raise ListUnreadable("two lists")
                self.begin = self._behind(at, "[")
                return self.begin
            _, at = self._value(at)
            at = self._blanks(at)
            if self._text[at : at + 1] != ",":
                if is_behind:
                    return at
                raise ListUnreadable("no list")
            at += 1

    def _value(self, at: int) -> tuple[Any, int]:
        try:
            return _DECODER.raw_decode(self._text, at)
        except (ValueError, RecursionError) as error:
            raise ListUnreadable(f"at byte {at}") from error

    def _blanks(self, at: int) -> int:
        text = self._text
        while text[at : at + 1] and text[at] in _BLANKS:
            at += 1
        return at

    def _behind(self, at: int, mark: str) -> int:
        at = self._blanks(at)
        if self._text[at : at + 1] != mark:
            raise ListUnreadable(f"no {mark} at byte {at}")
        return at + 1
