"""Each rule that mends a document's grammar."""

from typing import Any

import pytest

from gateway.openapi.grammar import MENDS
from gateway.openapi.source import read_source
from tests.unit.openapi.documents import in_path, operation, raw


def paths_of(paths: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    source = read_source(raw(paths=paths), ())
    return {(one.method, one.path): dict(one.body) for one in source.operations}


def test_every_operation_has_an_id_of_its_own() -> None:
    found = paths_of(
        {
            "/slurm/v0.0.36/jobs": {"get": operation(operationId="slurmctld_get_jobs")},
            "/slurm/v0.0.37/jobs": {"get": operation(operationId="slurmctld_get_jobs")},
            "/slurm/v0.0.37/job/{job_id}": {"delete": operation(parameters=[in_path("job_id")])},
            "/slurm/v0.0.38/jobs": {"get": operation(operationId="slurm_v0_0_38_get_jobs")},
            "/openapi": {"get": operation()},
            "/openapi/v3": {"get": operation()},
            "/openapi.json": {"get": operation()},
        }
    )
    assert [body["operationId"] for body in found.values()] == [
        "slurm_v0036_get_jobs",
        "slurm_v0037_get_jobs",
        "slurm_v0037_delete_job_job_id",
        "slurm_v0_0_38_get_jobs",
        "get_openapi",
        "openapi_v3_get",
        "get_openapi_json",
    ]


@pytest.mark.parametrize(
    ("schema", "mended"),
    [
        ({"type": "object", "required": []}, {"type": "object"}),
        ({"type": "object", "required": ["a"]}, {"type": "object", "required": ["a"]}),
        ({"required": ["a/b"], "type": "object"}, {"type": "object"}),
        ({"required": ["a/b", "a"]}, {"required": ["a"]}),
        ({"type": "string", "enum": []}, {"type": "string"}),
        ({"type": "boolean", "default": 0}, {"type": "boolean"}),
        ({"type": "boolean", "default": "false"}, {"type": "boolean"}),
        ({"type": "boolean", "default": False}, {"type": "boolean", "default": False}),
        ({"type": "integer", "default": True}, {"type": "integer"}),
        ({"type": "number", "default": 1}, {"type": "number", "default": 1}),
        ({"properties": {"default": {"type": "boolean"}}},) * 2,
        ({"properties": {"required": {"type": "array", "items": {}}}},) * 2,
        ({"items": {"required": []}}, {"items": {}}),
        ({"allOf": [{"required": []}]}, {"allOf": [{}]}),
    ],
)
def test_schemas_say_only_what_the_grammar_allows(
    schema: dict[str, Any], mended: dict[str, Any]
) -> None:
    components = {"schemas": {"v0.0.42_answer": schema, "v0.0.42_job": {}}}
    assert read_source(raw(components=components), ()).schemas["v0.0.42_answer"] == mended


def test_an_object_inside_a_nullable_one_gets_a_name() -> None:
    inner = {"type": "object", "properties": {"count": {"type": "integer"}}}
    schema = {"type": "object", "nullable": True, "properties": {"nodes": inner, "cpus": {}}}
    others: dict[str, Any] = {"v0.0.42_job": {"properties": {"x": inner}}}
    others["v0.0.42_answer_nodes"] = {}
    components = {"schemas": {"v0.0.42_answer": schema, **others}}
    source = read_source(raw(components=components), ())
    reference = {"$ref": "#/components/schemas/v0.0.42_answer_nodes_object"}
    assert source.schemas["v0.0.42_answer"]["properties"] == {"nodes": reference, "cpus": {}}
    assert source.schemas["v0.0.42_answer_nodes_object"] == inner
    assert {name: source.schemas[name] for name in others} == others


def test_there_are_five_rules() -> None:
    """Each is needed by a real release: tests/integration/test_openapi.py."""
    assert len(MENDS) == 5
