"""A document that breaks the grammar of OpenAPI 3.0, or misuses it -> the same, as it is meant.

What holds for a whole release stands here as a rule; what is wrong with one schema stands in
corrections.toml. Each rule is there because a real release needs it.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

Paths = dict[str, dict[str, dict[str, Any]]]
"""Path -> method -> operation."""
Schemas = dict[str, Any]

Mend = Callable[[Paths, Schemas], None]

_NO_NAME = re.compile(r"[^A-Za-z0-9]+")
_TYPES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
}


def name_operations(paths: Paths, schemas: Schemas) -> None:
    """22.05.8 gives v0.0.36 and v0.0.37 the same operation ids, 20.11.4 gives some none at all."""
    del schemas
    ids = Counter(operation.get("operationId") for _, _, operation in _operations(paths))
    for path, method, operation in _operations(paths):
        known = operation.get("operationId")
        if known is None or ids[known] > 1:
            operation["operationId"] = _id_of(path, method)


def _id_of(path: str, method: str) -> str:
    """ "GET /slurm/v0.0.36/job/{job_id}" -> "slurm_v0036_get_job_job_id", much as newer releases do."""
    words = [word.replace("v0.0.", "v00") for word in path.strip("/").split("/")]
    place = 2 if len(words) > 1 else 0
    named = [*words[:place], method, *words[place:]]
    return "_".join(_NO_NAME.sub("_", word).strip("_") for word in named)


def leave_out_empty_lists(paths: Paths, schemas: Schemas) -> None:
    """24.11.5 and 26.05.5 write "required": [], which OpenAPI 3.0 forbids."""
    for holder in _schemas_of(paths, schemas):
        for name in ("required", "enum"):
            if holder.get(name) == []:
                del holder[name]


def require_members_alone(paths: Paths, schemas: Schemas) -> None:
    """24.11.5 and 26.05.5 require "nodes/count", where they mean a member of a member, of every answer."""
    for holder in _schemas_of(paths, schemas):
        required = holder.get("required")
        if isinstance(required, list):
            holder["required"] = [name for name in required if "/" not in str(name)]


def leave_out_wrong_defaults(paths: Paths, schemas: Schemas) -> None:
    """24.11.5 gives switches the default 0, 22.05.8 the default "false"."""
    for holder in _schemas_of(paths, schemas):
        kinds = _TYPES.get(str(holder.get("type")))
        if kinds and "default" in holder and not _is_one_of(holder["default"], kinds):
            del holder["default"]


def _is_one_of(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, kinds)


def name_objects_inside_nullable_ones(paths: Paths, schemas: Schemas) -> None:
    """openapi-python-client 0.29 drops a nullable schema that has an object without a name inside."""
    del paths
    for name, schema in list(schemas.items()):
        if isinstance(schema, dict) and schema.get("nullable") is True:
            properties = schema.get("properties")
            for member, inner in properties.items() if isinstance(properties, dict) else ():
                given = f"{name}_{member}_object"
                if isinstance(inner, dict) and "properties" in inner and given not in schemas:
                    schemas[given] = dict(inner)
                    inner.clear()
                    inner["$ref"] = f"#/components/schemas/{given}"


MENDS: tuple[Mend, ...] = (
    name_operations,
    require_members_alone,
    leave_out_empty_lists,
    leave_out_wrong_defaults,
    name_objects_inside_nullable_ones,
)


def _operations(paths: Paths) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield path, method, operation


def _schemas_of(paths: Paths, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """Every object of schemas. A property may be called "default", so that names are passed over."""
    yield from _inside(schemas, is_names=True)
    for _, _, operation in _operations(paths):
        for parameter in operation["parameters"]:
            yield from _inside(parameter["schema"], is_names=False)


def _inside(value: Any, *, is_names: bool) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if not is_names:
            yield value
        for name, member in value.items():
            yield from _inside(member, is_names=not is_names and name == "properties")
    elif isinstance(value, list):
        for item in value:
            yield from _inside(item, is_names=False)
