"""A list operation as documented -> the parameters with which its clients ask the gateway for parts of the list."""

import re
from collections.abc import Mapping
from typing import Any, Final

from gateway.slurm_api.selection import LISTINGS, MOST_ITEMS, PREFIX, parameters_of

_VERSION: Final = re.compile(r"/v0\.0\.[0-9]+/")
_TEXTS: Final[Mapping[str, str]] = {
    "user": "Items of these users alone (names, with commas between).",
    "state": "Items in one of these states alone (with commas between).",
    "partition": "Items of these partitions alone (with commas between).",
    "account": "Items of these accounts alone (with commas between).",
    "fields": "These members of each item alone: dotted paths with commas between, such as job_id,time.start."
    " Members that are required otherwise are missing then.",
    "limit": "At most so many items; the header Gateway-Cursor says where the rest begins, Gateway-Total how many"
    " there are.",
    "cursor": "The Gateway-Cursor of the page before, for the same request otherwise.",
}


def selection_parameters(method: str, path: str) -> list[dict[str, Any]]:
    """Those of one operation, in the form of OpenAPI 3.0; none where there are none."""
    operation = f"{method} {_VERSION.sub('/*/', path.removesuffix('/'))}"
    return [_parameter(operation, name) for name in parameters_of(operation)]


def _parameter(operation: str, name: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name == "limit":
        schema = {"type": "integer", "minimum": 1, "maximum": MOST_ITEMS}
    elif name in ("fields", "user", "partition", "account"):
        schema = {"type": "array", "items": {"type": "string"}}
    elif name == "state":
        states = list(LISTINGS[operation].states)
        schema = {"type": "array", "items": {"type": "string", "enum": states}}
    return {
        "name": PREFIX + name,
        "in": "query",
        "required": False,
        "description": _TEXTS[name],
        "schema": schema,
        "style": "form",
        "explode": False,
    }
