"""(method, canonical path) -> the one operation in one version that it names, or None.

slurmrestd 20.11 and 22.05 match by prefix; here a path matches a whole template or nothing. Where
a literal and a parameter could both match, the literal does, as in slurmrestd, and does so in the
versions and for the methods that do not have it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from gateway.model import Operation, Risk
from gateway.slurm_api.kinds import Kind
from gateway.slurm_api.versions import VersionRange, version_text

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """One name of a query, in the versions that know it. `raises` is the class its presence makes."""

    name: str
    kind: Kind
    versions: VersionRange
    raises: Risk | None = None


@dataclass(frozen=True, slots=True)
class PathParameter:
    """The one parameter in a path: "job_id" and its kind."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the catalogue. `versions` is None for what has none: /openapi, and the gateway's own.

    `needs_condition`: without a query, slurmrestd would do it to everything there is.
    """

    operation: Operation
    versions: VersionRange | None
    parameter: PathParameter | None
    query: tuple[QueryParameter, ...]
    needs_condition: bool = False

    def query_in(self, version: int) -> dict[str, QueryParameter]:
        """The names that this operation knows in one version."""
        return {one.name: one for one in self.query if one.versions.covers(version)}


@dataclass(frozen=True, slots=True, eq=False)
class VersionedOperation:
    """An entry in one version. `before` and `after` are the path's text around its parameter.

    `words` stand in the parameter's place in other operations ("submit"), so they are no values.
    """

    entry: Entry
    version: int | None
    before: str
    after: str
    query: Mapping[str, QueryParameter]
    words: frozenset[str]

    @property
    def version_text(self) -> str:
        """As the path has it: "v0.0.42", or "" for an unversioned operation."""
        return version_text(self.version) if self.version is not None else ""


class Match(NamedTuple):
    """What a path names. `value` is the text of the path's parameter, not yet checked."""

    found: VersionedOperation
    value: str = ""


class Catalogue:
    """Every operation that may ever be forwarded. Immutable."""

    __slots__ = ("_inside", "_literal", "_open", "_words", "entries")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = tuple(entries)
        self._words = _words_by_place(self.entries)
        self._literal: dict[str, Match] = {}
        self._open: dict[str, VersionedOperation] = {}
        inside: dict[int, set[int]] = {}
        for entry in self.entries:
            for one in self.versions_of(entry):
                if entry.parameter is None:
                    _add(self._literal, f"{entry.operation.method} {one.before}", Match(one))
                    continue
                _add(self._open, f"{entry.operation.method} {one.before}{{}}{one.after}", one)
                if one.after:
                    count = (one.before + one.after).count("/") + 1
                    inside.setdefault(count, set()).add(one.before.count("/"))
        self._inside = {count: tuple(sorted(where)) for count, where in inside.items()}

    def match(self, method: str, path: str) -> Match | None:
        """Find what a canonical path (Target.path) names, in 0.1 to 0.6 microseconds."""
        literal = self._literal.get(f"{method} {path}")
        if literal is not None:
            return literal
        head, _, value = path.rpartition("/")
        found = self._open.get(f"{method} {head}/{{}}")
        if found is not None:
            return Match(found, value) if value and value not in found.words else None
        return self._match_inside(method, path)

    def versions_of(self, entry: Entry) -> Iterator[VersionedOperation]:
        """An entry in each version that it is known in."""
        template = entry.operation.template
        if entry.versions is None:
            yield VersionedOperation(entry, None, template, "", {}, frozenset())
            return
        words = self._words.get(template.rpartition("{")[0], frozenset())
        for version in entry.versions:
            path = template.replace("{version}", version_text(version))
            before, _, rest = path.partition("{")
            _, _, after = rest.partition("}")
            yield VersionedOperation(entry, version, before, after, entry.query_in(version), words)

    def _match_inside(self, method: str, path: str) -> Match | None:
        segments = path.split("/")
        for position in self._inside.get(len(segments), ()):
            value, segments[position] = segments[position], "{}"
            found = self._open.get(f"{method} {'/'.join(segments)}")
            if found is not None and value:
                return Match(found, value)
            segments[position] = value
        return None


def _words_by_place(entries: Iterable[Entry]) -> dict[str, frozenset[str]]:
    """The last words of all literal templates by what stands before them, whatever the version."""
    words: dict[str, set[str]] = {}
    for entry in entries:
        if entry.parameter is None:
            head, slash, word = entry.operation.template.rpartition("/")
            words.setdefault(head + slash, set()).add(word)
    return {place: frozenset(found) for place, found in words.items()}


def _add(table: dict[str, _Value], key: str, value: _Value) -> None:
    if key in table:
        raise ValueError(f"{key} stands twice in the catalogue")
    table[key] = value
