"""Small documents as slurmrestd writes them, for tests that need no real one."""

from typing import Any

import orjson


def operation(summary: str = "", *, body: bool = False, **members: Any) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/v0.0.42_answer"}
    made: dict[str, Any] = {
        "tags": ["slurm"],
        "summary": summary,
        "parameters": [],
        "responses": {
            "200": {
                "description": "good",
                "content": {
                    "application/json": {"schema": schema},
                    "application/yaml": {"schema": schema},
                },
            },
            "default": {"description": "bad", "content": {"application/json": {"schema": schema}}},
        },
    }
    if body:
        wanted = {"$ref": "#/components/schemas/v0.0.42_job"}
        made["requestBody"] = {"content": {"application/json": {"schema": wanted}}}
    return {**made, **members}


def query(name: str, **members: Any) -> dict[str, Any]:
    return {"in": "query", "name": name, "style": "form", "schema": {"type": "string"}, **members}


def in_path(name: str) -> dict[str, Any]:
    schema = {"type": "string"}
    return {"in": "path", "name": name, "style": "label", "required": True, "schema": schema}


def document(**members: Any) -> dict[str, Any]:
    """Two versions of a few operations, and schemas of which one is nobody's."""
    job = "/slurm/v0.0.42/job/{job_id}"
    made: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {"title": "Slurm REST API", "version": "Slurm-24.11.5", "x-slurm": {"secret": 1}},
        "servers": [{"url": "/"}],
        "security": [{"user": [], "token": []}],
        "tags": [{"name": "slurm", "description": "slurmctld"}, {"name": "slurmdb"}],
        "paths": {
            "/slurm/v0.0.42/jobs": {"get": operation("jobs", parameters=[query("update_time")])},
            "/slurmdb/v0.0.42/jobs": {
                "get": operation(
                    "jobs",
                    parameters=[query("users"), query("show_batch_script"), query("unheard_of")],
                )
            },
            job: {
                "get": operation("job", parameters=[in_path("job_id")]),
                "delete": operation("cancel", parameters=[in_path("job_id"), query("signal")]),
            },
            "/slurm/v0.0.42/job/submit": {"post": operation("submit", body=True)},
            "/slurm/v0.0.40/diag": {"get": operation("diag")},
            "/slurm/v0.0.42/reconfigure/": {"get": operation("reconfigure")},
            "/slurm/v0.0.42/unheard/of": {"get": operation("new")},
        },
        "components": {
            "schemas": {
                "v0.0.42_answer": {
                    "type": "object",
                    "properties": {"errors": {"$ref": "#/components/schemas/v0.0.42_errors"}},
                    "required": [],
                },
                "v0.0.42_errors": {"type": "array", "items": {"type": "string"}},
                "v0.0.42_job": {"type": "object", "properties": {"script": {"type": "string"}}},
                "v0.0.42_secret": {"type": "object"},
            },
            "securitySchemes": {"token": {"type": "apiKey", "name": "X-SLURM-USER-TOKEN"}},
        },
    }
    return {**made, **members}


def raw(**members: Any) -> bytes:
    return orjson.dumps(document(**members))
