"""The bytes of slurmrestd's OpenAPI document -> Source: its operations and schemas, mended, and nothing else of it.

The document is another program's: what is not expected here is left out, and what cannot be read
is refused as a whole. Only names that stand below are ever taken over.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from gateway.openapi.corrections import Correction, correct
from gateway.openapi.grammar import MENDS, Mend
from gateway.request.media_type import JSON

MAXIMUM_DOCUMENT_BYTES = 16_777_216
"""26.05.5 with all its versions has 1.8 MB."""
MAXIMUM_DEPTH = 64
"""24.11.5 nests its schemas 31 deep."""
METHODS = ("get", "post", "delete")

_SUPPORTED = re.compile(r"3\.0\.[0-9]+")
_PATH = re.compile(r"(?:/[A-Za-z0-9_.{}-]+)+/?")
_STATUS = re.compile(r"[1-5][0-9]{2}|default")
_REFERENCE = "#/components/schemas/"


class DocumentRefused(ValueError):
    """It is no document that can be served. The message is the gateway's own, for its log and audit."""


@dataclass(frozen=True, slots=True, eq=False)
class SourceOperation:
    """One operation as slurmrestd documents it. `schemas` are the names of all that it refers to."""

    method: str
    path: str
    body: Mapping[str, Any]
    schemas: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A whole document. `release` is what slurmrestd says that it is; `digest` that of its bytes."""

    digest: str
    grammar: str
    release: str
    operations: tuple[SourceOperation, ...]
    schemas: Mapping[str, Any]
    tags: Mapping[str, str]


def read_source(
    raw: bytes, corrections: Sequence[Correction], mends: Sequence[Mend] = MENDS
) -> Source:
    """Read and mend a document. Raises DocumentRefused."""
    document = _parse(raw)
    grammar = document.get("openapi")
    if not isinstance(grammar, str) or not _SUPPORTED.fullmatch(grammar):
        raise DocumentRefused("it is not of OpenAPI 3.0")
    correct(document, corrections)
    schemas = _table(_table(document, "components"), "schemas")
    paths = dict(_paths(_table(document, "paths")))
    for mend in mends:
        mend(paths, schemas)
    reached = _Reached(schemas)
    operations = tuple(
        SourceOperation(method.upper(), path, body, reached.of(body))
        for path, methods in paths.items()
        for method, body in methods.items()
    )
    return Source(
        digest=sha256(raw).hexdigest(),
        grammar=grammar,
        release=_text(_table(document, "info"), "version"),
        operations=operations,
        schemas={name: schemas[name] for name in reached.in_order()},
        tags=dict(_tags(document.get("tags"))),
    )


def _parse(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAXIMUM_DOCUMENT_BYTES:
        raise DocumentRefused(f"it has more than {MAXIMUM_DOCUMENT_BYTES} bytes")
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise DocumentRefused("it is not JSON in UTF-8") from None
    if not isinstance(document, dict):
        raise DocumentRefused("it is not a JSON object")
    if not _is_shallow(document):
        raise DocumentRefused(f"it is nested more than {MAXIMUM_DEPTH} deep")
    return document


def _is_shallow(value: Any) -> bool:
    """Level by level, so that no depth of the input is a depth of the stack."""
    level = [value]
    for _ in range(MAXIMUM_DEPTH):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one.values()
            elif isinstance(one, list):
                below += one
        level = below
        if not level:
            return True
    return False


def _table(holder: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = holder.get(name)
    if not isinstance(found, dict) or not found:
        raise DocumentRefused(f"its {name} is no object with members")
    return found


def _text(holder: Mapping[str, Any], name: str) -> str:
    found = holder.get(name)
    return found if isinstance(found, str) else ""


def _tags(tags: object) -> Iterator[tuple[str, str]]:
    for tag in tags if isinstance(tags, list) else ():
        if isinstance(tag, dict) and isinstance(tag.get("name"), str):
            yield tag["name"], _text(tag, "description")


def _paths(paths: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """22.05.8 has a schema among the methods of a path; such members are no operations."""
    for path, methods in paths.items():
        if not isinstance(methods, dict) or not _PATH.fullmatch(path):
            raise DocumentRefused("one of its paths is none")
        yield path, {method: _operation(methods[method]) for method in METHODS if method in methods}


def _operation(body: Any) -> dict[str, Any]:
    """The members that are known, each of its own kind."""
    if not isinstance(body, dict):
        raise DocumentRefused("one of its operations is no object")
    taken: dict[str, Any] = {
        name: body[name]
        for name in ("summary", "description", "operationId")
        if isinstance(body.get(name), str)
    }
    tags = body.get("tags")
    taken["tags"] = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
    if body.get("deprecated") is True:
        taken["deprecated"] = True
    taken["parameters"] = [_parameter(one) for one in _list(body, "parameters")]
    if "requestBody" in body:
        taken["requestBody"] = _request_body(body["requestBody"])
    taken["responses"] = dict(_responses(_table(body, "responses")))
    return taken


def _list(holder: Mapping[str, Any], name: str) -> list[Any]:
    found = holder.get(name, [])
    if not isinstance(found, list):
        raise DocumentRefused(f"a member {name} is no list")
    return found


def _parameter(parameter: Any) -> dict[str, Any]:
    """Styles are not taken over: the gateway reads one form alone, and says so itself."""
    if not isinstance(parameter, dict) or not isinstance(parameter.get("name"), str):
        raise DocumentRefused("one of its parameters has no name")
    place = parameter.get("in")
    if place not in ("path", "query"):
        raise DocumentRefused("one of its parameters stands neither in the path nor in the query")
    taken = {"name": parameter["name"], "in": place, "required": place == "path"}
    if description := _text(parameter, "description"):
        taken["description"] = description
    schema = parameter.get("schema")
    taken["schema"] = schema if isinstance(schema, dict) else {"type": "string"}
    return taken


def _request_body(body: Any) -> dict[str, Any]:
    schema = _json_schema(body)
    if schema is None:
        raise DocumentRefused("one of its request bodies is not JSON")
    return {"content": {JSON: {"schema": schema}}}


def _responses(responses: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for status, response in responses.items():
        if not _STATUS.fullmatch(status) or not isinstance(response, dict):
            raise DocumentRefused("one of its responses has no status")
        taken: dict[str, Any] = {"description": _text(response, "description")}
        if (schema := _json_schema(response)) is not None:
            taken["content"] = {JSON: {"schema": schema}}
        yield status, taken


def _json_schema(holder: Any) -> dict[str, Any] | None:
    """JSON alone: whatever stands there of YAML says the same again."""
    content = holder.get("content") if isinstance(holder, dict) else None
    kind = content.get(JSON) if isinstance(content, dict) else None
    schema = kind.get("schema") if isinstance(kind, dict) else None
    return schema if isinstance(schema, dict) else None


class _Reached:
    """Follows references, each schema once. A reference to nothing means anything at all."""

    def __init__(self, schemas: dict[str, Any]) -> None:
        self._schemas = schemas
        self._direct = {name: frozenset(self._names(schema)) for name, schema in schemas.items()}

    def of(self, body: Mapping[str, Any]) -> frozenset[str]:
        """The names of all schemas that a part of the document refers to, also through others."""
        found: set[str] = set()
        fresh = set(self._names(body))
        while fresh:
            found |= fresh
            fresh = set().union(*(self._direct[name] for name in fresh)) - found
        return frozenset(found)

    def in_order(self) -> list[str]:
        """Each schema after those that it refers to: generators lose what they have to come back for."""
        ordered: dict[str, None] = {}
        waiting = list(reversed(self._schemas))
        begun: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name in begun:
                ordered[name] = None
                continue
            begun.add(name)
            waiting += [name, *sorted(self._direct[name] - begun)]
        return list(ordered)

    def _names(self, value: Any) -> Iterator[str]:
        for holder in objects(value):
            reference = holder.get("$ref")
            if reference is None:
                continue
            name = str(reference).removeprefix(_REFERENCE)
            if reference == _REFERENCE + name and name in self._schemas:
                yield name
            else:
                holder.clear()


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside, the outer ones first."""
    if isinstance(value, dict):
        yield value
        for member in list(value.values()):
            yield from objects(member)
    elif isinstance(value, list):
        for item in value:
            yield from objects(item)
