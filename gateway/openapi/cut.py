"""(Source, what somebody may call, Publisher) -> the OpenAPI document that is true for them."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.openapi.own_part import (
    PROBLEM_SCHEMA,
    Publisher,
    problem_content,
    problem_schema,
    refusals,
    responses,
)
from gateway.openapi.selection_part import selection_parameters
from gateway.openapi.source import Source, SourceOperation
from gateway.openapi.submit_part import for_submission
from gateway.request.media_type import JSON

Permits = Callable[[str, str], frozenset[str] | None]
"""(method, path as documented) -> the names of the query parameters that may be given; None: not at all."""

_STYLES = {"path": "simple", "query": "form"}


def cut(source: Source, permits: Permits, publisher: Publisher) -> dict[str, Any]:
    """The document as JSON values. Parts of the source are shared and not changed."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: set[str] = set()
    tags: set[str] = set()
    for operation in source.operations:
        names = permits(operation.method, operation.path)
        if names is None:
            continue
        here = paths.setdefault(operation.path, {})
        here[operation.method.lower()] = _operation(operation, names, publisher)
        schemas |= operation.schemas
        tags.update(operation.body["tags"])
    return {
        "openapi": source.grammar,
        "info": publisher.info(source.release),
        "servers": publisher.servers(),
        "security": publisher.security(),
        "tags": [
            {"name": name, "description": text}
            for name, text in source.tags.items()
            if name in tags
        ],
        "paths": paths,
        "components": {
            "schemas": {
                **{name: schema for name, schema in source.schemas.items() if name in schemas},
                PROBLEM_SCHEMA: problem_schema(),
            },
            "responses": responses(),
            "securitySchemes": publisher.security_schemes(),
        },
    }


def _operation(
    operation: SourceOperation, names: frozenset[str], publisher: Publisher
) -> dict[str, Any]:
    body = dict(operation.body)
    parameters = [
        _parameter(one) for one in body["parameters"] if one["in"] == "path" or one["name"] in names
    ]
    body["parameters"] = parameters + selection_parameters(operation.method, operation.path)
    if "requestBody" in body:
        # a POST without a body is refused; of a DELETE it is the condition, and may be absent
        body["requestBody"] = {**body["requestBody"], "required": operation.method == "POST"}
        body = for_submission(operation.path, body, takes_keys=publisher.takes_keys)
    body["responses"] = _responses(body["responses"], takes_body="requestBody" in body)
    return body


def _parameter(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """Written as the gateway reads it: once, with commas inside where it is a list."""
    return {**parameter, "style": _STYLES[parameter["in"]], "explode": False}


def _responses(said: Mapping[str, Any], *, takes_body: bool) -> dict[str, Any]:
    """slurmrestd's own answers, the gateway's beside them, and both where the status is not known.

    JSON is always among them: a client accepts what it finds here, and a problem alone is not to be had.
    """
    known = {"default": {"description": "An error."}, **said}
    told = {
        status: {**answer, "content": {JSON: {"schema": {}}, **answer.get("content", {})}}
        for status, answer in known.items()
    }
    told["default"]["content"] |= problem_content()
    return {**told, **refusals(takes_body=takes_body)}
