"""(options as given, API version) -> the job description of the REST API, or the place of what has none there."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gateway.client.submit.parsing import PARSERS, Unreadable
from gateway.client.submit.rivals import counting
from gateway.client.submit.table import Field
from gateway.client.submit.words import Given, wrong_at
from gateway.client.trouble import Trouble, printable

_FIRST_WITH_A_LIST = 39
_FIRST_WITH_OOM_KILL_STEP = 42
_NOT_SET = 65_534
"""What slurmrestd would set to 0, a choice of its own, is left to the cluster, as sbatch does (measured)."""


def describe(given: Iterable[Given], version: int, now: float) -> dict[str, Any]:
    """What comes later goes over what came before. Raises Trouble for the first that cannot be translated."""
    job: dict[str, Any] = {}
    for one in counting(given):
        if one.option.why:
            raise Trouble(
                wrong_at(one.place),
                f"{one.place}: --{one.option.name} cannot be sent.",
                one.option.why,
            )
        if one.option.fields:
            _add(job, one, version, now)
    if version >= _FIRST_WITH_OOM_KILL_STEP:
        job.setdefault("oom_kill_step", _NOT_SET)
    if version < _FIRST_WITH_A_LIST and "tasks_per_node" in job:
        # sbatch does this sum itself, and slurmrestd only in newer versions.
        fewest = int(str(job.get("nodes", 1)).partition("-")[0])
        job.setdefault("tasks", fewest * job["tasks_per_node"])
    return job


def _add(job: dict[str, Any], one: Given, version: int, now: float) -> None:
    field = one.option.field_in(version)
    if field is None:
        known = ", ".join(_shown(each) for each in one.option.fields)
        raise Trouble(
            wrong_at(one.place),
            f"{one.place}: API v0.0.{version} has no field for --{one.option.name}.",
            f"it is in {known}; leave it out, or ask for a newer Slurm",
        )
    try:
        value = PARSERS[field.parse](one.text, now)
    except Unreadable as unreadable:
        raise Trouble(
            wrong_at(one.place),
            f"{one.place}: --{one.option.name}={printable(one.text, 80)}: it must be {unreadable}.",
        ) from None
    _write(job, field, value)


def _shown(field: Field) -> str:
    return f"v0.0.{field.first}" + (f"-{field.last}" if field.last != field.first else "")


def _write(job: dict[str, Any], field: Field, value: Any) -> None:
    match field.form:
        case "fields":
            job.update(value)
        case "node-counts":
            _write_nodes(job, value)
        case "cpus":
            # As sbatch of 24.11 and 26.05 does (measured).
            job["cpus_per_task"] = value
            _write(job, replace(field, name="tres_per_task", form="comma"), f"cpu={value}")
        case "append":
            job[field.name] = [*job.get(field.name, []), value]
        case "comma":
            job[field.name] = ",".join(filter(None, (job.get(field.name), value)))
        case _:
            job[field.name] = _formed(field.form, value)


def _write_nodes(job: dict[str, Any], counts: Sequence[int]) -> None:
    job["minimum_nodes"] = counts[0]
    if len(counts) > 1:
        job["maximum_nodes"] = counts[1]
    else:
        job["nodes"] = str(counts[0])


def _formed(form: str, value: Any) -> Any:
    """`plain` and `list` are as they were read."""
    return _FORMS[form](value) if form in _FORMS else value


def number_object(value: float) -> dict[str, Any]:
    """A number as v0.0.39 and newer write it."""
    if value == math.inf:
        return {"set": False, "infinite": True, "number": 0}
    return {"set": True, "infinite": False, "number": value}


_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "object": number_object,
    "limit": lambda value: -1 if value == math.inf else value,
    "joined": ",".join,
    "range": lambda value: "-".join(map(str, value)),
    "text": str,
    "uts": lambda value: f"uts{value}",
    "truth": bool,
    "upper-list": lambda value: [value.upper()],
}


def environment_field(variables: Mapping[str, str], version: int) -> Any:
    """A map up to v0.0.38, later a list."""
    if version >= _FIRST_WITH_A_LIST:
        return [f"{name}={value}" for name, value in variables.items()]
    return dict(variables)


def body(script: str, components: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One job, or the components of a heterogeneous one."""
    if len(components) == 1:
        return {"script": script, "job": dict(components[0])}
    return {"script": script, "jobs": [dict(one) for one in components]}
