"""What somebody typed to choose nodes -> which of them are meant, as sinfo chooses."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from gateway.client.node import MARKS, Node
from gateway.client.trouble import Exit, Trouble, printable

_STATES = {
    "alloc allocated": "alloc",
    "boot reboot": "boot @ ^",
    "comp completing": "comp +",
    "down": "down",
    "drain": "drain drng",
    "drained": "drain",
    "draining drng": "drng",
    "error": "error",
    "fail": "fail failg",
    "failg failing": "failg",
    "future futr": "futr",
    "idle": "idle",
    "maint maintenance": "maint $",
    "mix mixed": "mix",
    "no_respond not_responding": "*",
    "planned plnd": "plnd -",
    "power_down": "!",
    "powered_down": "~",
    "powering_down": "%",
    "powering_up": "#",
    "reserved resv": "resv",
    "unk unknown": "unk",
}
"""What may be typed: the words and the marks behind a word that it means."""
_MEANT = {
    word: frozenset(meant.split()) for typed, meant in _STATES.items() for word in typed.split()
}
_FIRST_WITH_FLAGS = 37
_WITHOUT_FLAGS = frozenset({"alloc", "idle", "down", "error", "futr", "unk"})
"""What v0.0.36 says (measured on 20.11: no flags, and `allocated` of a node that is mixed)."""
_PARTS = re.compile(r"(?:[^\[\],\s]|\[[0-9,-]+\])+")
_PIECES = re.compile(r"\[([^\]]*)\]|([^\[]+)")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_MOST_NAMES = 65_536
"""More than anybody asks for, and no more than this machine takes in a moment."""


@dataclass(frozen=True, slots=True)
class NodeChoice:
    """Filters that all have to fit; an empty one fits all."""

    names: frozenset[str]
    states: frozenset[str]
    partitions: frozenset[str]

    def fits(self, node: Node) -> bool:
        """Whether this node is meant."""
        word = node.state.rstrip(MARKS)
        marks = node.state[len(word) :]
        return (
            _among(self.names, node.name.lower())
            and _among(self.states, word, *marks)
            and _among(self.partitions, *map(str.lower, node.partitions))
        )


def _among(wanted: frozenset[str], *found: str) -> bool:
    return not wanted or not wanted.isdisjoint(found)


def make_node_choice(names: str | None, states: str | None, partitions: str | None) -> NodeChoice:
    """Lists with commas, as typed. Raises Trouble for a state or a list of nodes that is none."""
    return NodeChoice(
        frozenset(_expanded((names or "").strip().lower())),
        frozenset(meant for word in _list(states) for meant in _meant(word)),
        frozenset(_list(partitions)),
    )


def require_flags(choice: NodeChoice, version: int) -> None:
    """Raises Trouble for states that an API version never says: nothing would be found, as if no node were so."""
    unsaid = choice.states - _WITHOUT_FLAGS
    if version < _FIRST_WITH_FLAGS and unsaid:
        raise Trouble(
            Exit.WRONG_CALL,
            f"API v0.0.{version} does not say which nodes are {', '.join(sorted(unsaid))}.",
            f"choose of {', '.join(sorted(_WITHOUT_FLAGS))}; alloc are there those that are mixed, too",
        )


def _list(typed: str | None) -> list[str]:
    return [word.strip().lower() for word in (typed or "").split(",") if word.strip()]


def _meant(word: str) -> frozenset[str]:
    bare = word.rstrip(MARKS)
    if bare in _MEANT:
        return _MEANT[bare]
    raise Trouble(
        Exit.WRONG_CALL,
        f"{printable(word)!r} is no state of a node.",
        f"use some of {', '.join(sorted(_MEANT))}",
    )


def _expanded(typed: str) -> Iterator[str]:
    """node[1-3],login -> node1, node2, node3, login. Raises Trouble."""
    parts = _PARTS.findall(typed)
    if ",".join(parts) != re.sub(r"\s*,[\s,]*", ",", typed).strip(","):
        raise _no_list(typed)
    made = 0
    for part in parts:
        pieces = [_choices(inside, plain, typed) for inside, plain in _PIECES.findall(part)]
        for one in product(*pieces):
            made += 1
            if made > _MOST_NAMES:
                raise _no_list(typed)
            yield "".join(one)


def _choices(inside: str, plain: str, typed: str) -> list[str]:
    """What may stand in the place of one pair of brackets, with the zeros that the first number has."""
    if plain:
        return [plain]
    found: list[str] = []
    for part in inside.split(","):
        limits = _RANGE.fullmatch(part)
        if limits is None:
            raise _no_list(typed)
        first, last = int(limits[1]), int(limits[2] or limits[1])
        if not first <= last < first + _MOST_NAMES:
            raise _no_list(typed)
        found += [f"{number:0{len(limits[1])}}" for number in range(first, last + 1)]
    return found


def _no_list(typed: str) -> Trouble:
    return Trouble(
        Exit.WRONG_CALL,
        f"{printable(typed, 80)!r} is no list of nodes.",
        "write it as node1,node[3-5],gpu[01-16]",
    )
