"""(a body, the fields that have one value) -> the body's new bytes, in the shape of its API version."""

import json
from collections.abc import Sequence
from typing import Any

from gateway.slurm_api.field_rules import Forced, Value
from gateway.slurm_api.fields import Name, folded

_VERSION_PREFIX = "v0.0."


class Unwritable(ValueError):
    """The API version has no name for the field; the message is the field's."""


def write_forced(
    forced: Sequence[Forced], version: str, top: dict[str, Any], jobs: Sequence[dict[str, Any]]
) -> bytes:
    """Set each field in each job, in place of whatever stood there under any of its names.

    `jobs` are objects of `top`, or `top` itself. Raises Unwritable.
    """
    number = int(version.removeprefix(_VERSION_PREFIX))
    names = [_name_of(one, number) for one in forced]
    for one, name in zip(forced, names, strict=True):
        spellings = {folded(known.text) for known in one.field.names}
        for place in (top, *jobs):
            for given in [given for given in place if folded(given) in spellings]:
                del place[given]
        for job in jobs:
            job[name.text] = _shaped(name, one.value)
    return json.dumps(top, separators=(",", ":")).encode("ascii")


def _name_of(one: Forced, version: int) -> Name:
    name = one.field.written_in(version)
    if name is None:
        raise Unwritable(one.field.setting)
    return name


def _shaped(name: Name, value: Value) -> Any:
    match name.form:
        case "object":
            return {"set": True, "infinite": False, "number": value}
        case "list" if isinstance(value, int | str):
            return [value]
        case "plain" if not isinstance(value, bool | int | str):
            return ",".join(value)
        case _:
            return value
