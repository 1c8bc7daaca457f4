"""(API versions of a release, the pieces of a corpus, a seed) -> targets, always the same ones for the same seed."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from gateway.slurm_api import read_catalogue
from gateway.slurm_api.catalogue import VersionedOperation

CORPUS: dict[str, Any] = tomllib.loads(
    (Path(__file__).parent.parent / "security/corpus/differential.toml").read_text("utf-8")
)
_RULES, _PIECES = CORPUS["rules"], CORPUS["mutation"]["pieces"]
_SHARES = (("documented", 0.4), ("spelled", 0.2), ("hostile", 0.2), ("mutated", 1.0))
"""How much of the wanted number each way of making targets may fill at most."""
_MOST_CHANGES = 4


class Case(NamedTuple):
    """A method and a raw target, and which rule or mutation made it."""

    method: str
    raw: bytes
    made_by: str


def cases(versions: Sequence[int], wanted: int) -> list[Case]:
    """So many cases without repetitions: documented forms and their spellings, attacks by rule, mutations."""
    chance = random.Random(CORPUS["seed"])  # noqa: S311  # repeatable on purpose
    known = [one for one in _operations() if one.version is None or one.version in versions]
    operations = [one for one in known if not one.before.startswith("/gateway/")]
    plain = list(_plain(operations))
    ways = {
        "documented": _shuffled(iter(plain), chance),
        "spelled": _shuffled(_spelled(plain), chance),
        "hostile": _shuffled(_hostile(plain), chance),
        "mutated": _mutated(plain, chance),
    }
    made: dict[tuple[str, bytes], Case] = {}
    for name, share in _SHARES:
        most = len(made) + int(wanted * share)
        for case in ways[name]:
            if len(made) >= min(most, wanted):
                break
            made.setdefault((case.method, case.raw), case)
    return list(made.values())


def _operations() -> Iterator[VersionedOperation]:
    catalogue = read_catalogue()
    for entry in catalogue.entries:
        yield from catalogue.versions_of(entry)


def _shuffled(found: Iterator[Case], chance: random.Random) -> list[Case]:
    listed = list(found)
    chance.shuffle(listed)
    return listed


def _plain(operations: Sequence[VersionedOperation]) -> Iterator[Case]:
    """Every operation with every value of its parameter, and with every query that it knows."""
    for call in operations:
        method, parameter = call.entry.operation.method, call.entry.parameter
        values = [""] if parameter is None else CORPUS["values"][parameter.kind.name]
        paths = [f"{call.before}{quote(value)}{call.after}" for value in values]
        for path in paths:
            yield Case(method, path.encode(), "documented")
        for name, known in call.query.items():
            for value in CORPUS["query"][known.kind.name]:
                field = f"{quote(name, safe='')}={quote(value, safe=',')}"
                yield Case(method, f"{paths[0]}?{field}".encode(), "query")


def _spelled(plain: Sequence[Case]) -> Iterator[Case]:
    """Other spellings of the same thing."""
    for case in plain:
        path, mark, query = case.raw.partition(b"?")
        segments = path.split(b"/")
        for index, segment in enumerate(segments[1:], 1):
            changed = [*segments]
            changed[index] = b"".join(b"%%%02x" % byte for byte in segment)
            yield Case(case.method, b"/".join(changed) + mark + query, "encoded segment")
            changed[index] = b"%%%02X" % segment[0] + segment[1:] if segment else segment
            yield Case(case.method, b"/".join(changed) + mark + query, "encoded letter")
        yield Case(case.method, path + b"/" + mark + query, "trailing slash")


def _hostile(plain: Sequence[Case]) -> Iterator[Case]:
    for case in plain:
        path, mark, query = case.raw.partition(b"?")
        rest = mark + query
        for method in _RULES["methods"]:
            yield Case(method, case.raw, "method")
        for prefix in _RULES["prefixes"]:
            yield Case(case.method, prefix.encode() + case.raw, "prefix")
        for suffix in _RULES["suffixes"]:
            yield Case(case.method, path + suffix.encode() + rest, "suffix")
        segments = path.split(b"/")
        for index in range(2, len(segments)):
            before, after = b"/".join(segments[:index]), b"/".join(segments[index:])
            yield Case(case.method, before + rest, "cut")
            for piece in _RULES["between"]:
                yield Case(case.method, before + piece.encode() + after + rest, "between")
        for version in _RULES["versions"]:
            other = [*segments[:2], version.encode(), *segments[3:]]
            yield Case(case.method, b"/".join(other) + rest, "version")
        yield Case(case.method, path.upper() + rest, "upper case")
        yield Case(case.method, path.replace(b"%", b"%25") + rest, "encoded twice")


def _mutated(plain: Sequence[Case], chance: random.Random) -> Iterator[Case]:
    while True:
        case, other = chance.choice(plain), chance.choice(plain)
        raw = case.raw
        for _ in range(chance.randint(1, _MOST_CHANGES)):
            raw = _changed(raw, other.raw, chance)
        method = case.method if chance.random() < 0.9 else other.method
        yield Case(method, raw, "mutated")


def _changed(raw: bytes, other: bytes, chance: random.Random) -> bytes:
    """One small change somewhere."""
    at = chance.randrange(len(raw) + 1)
    end = min(len(raw), at + chance.randint(1, 3))
    piece: bytes = chance.choice(_PIECES).encode()
    return chance.choice(
        (
            raw[:at] + piece + raw[at:],
            raw[:at] + piece + raw[end:],
            raw[:at] + raw[end:],
            raw[:end] + raw[at:],
            raw[:at] + other[at:],
            raw[:at] + b"".join(b"%%%02x" % byte for byte in raw[at:end]) + raw[end:],
            raw[:at] + raw[at:end].swapcase() + raw[end:],
        )
    )
