"""(body of job/submit, marker) -> the same submission with the marker behind what the user wrote in a field.

Shapes: `job` (all versions), `jobs` (one entry a component of a heterogeneous job), each with the script
inside or at the top. The names at the top are compared exactly, those of a job without regard to case,
as v0.0.38 does with the latter.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from gateway.token.strict_json import JsonRefused, read_object

MAXIMUM_FIELD_BYTES: Final = 1024
"""As much as slurmctld takes of `comment` and `extra` (ESLURM_PATHNAME_TOO_LONG beyond it)."""

_KNOWN: Final = ("script", "job", "jobs")


class Unmarkable(ValueError):
    """The body is no submission with one reading, or its field has no room. The message is public."""


class Submission:
    """A body that a marker can be put into."""

    def __init__(self, raw: bytes, field: str, marker_bytes: int) -> None:
        """Raises Unmarkable, also where a marker of that many bytes would not fit."""
        self._document = _read(raw)
        self.field = field
        self._jobs = list(_jobs(self._document))
        if not self._jobs:
            raise Unmarkable("the body has no job")
        self._names = [_name_in(job, field) for job in self._jobs]
        for job, name in zip(self._jobs, self._names, strict=True):
            _check_room(job.get(name), field, marker_bytes)

    @property
    def job_names(self) -> frozenset[str]:
        """What the user calls the jobs; empty where one of them has no name of its own."""
        names = [_member(job, "name") for job in self._jobs]
        if not all(isinstance(name, str) and name for name in names):
            return frozenset()
        return frozenset(map(str, names))

    def marked(self, marker: str) -> bytes:
        """The body that goes to Slurm."""
        for job, name in zip(self._jobs, self._names, strict=True):
            written = job.get(name)
            job[name] = f"{written} {marker}" if written else marker
        text = json.dumps(self._document, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8")


def _read(raw: bytes) -> dict[str, Any]:
    try:
        document = read_object(raw)
    except JsonRefused as error:
        raise Unmarkable(f"the body is not JSON with one reading: {error}") from error
    for name in document:
        if name not in _KNOWN and name.casefold() in _KNOWN:
            raise Unmarkable(f"write {name.casefold()!r} in small letters")
    return document


def _jobs(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every job description in the body. A null stands for nothing."""
    one, many = document.get("job"), document.get("jobs")
    candidates = [one] if one is not None else []
    if many is not None:
        if not isinstance(many, list):
            raise Unmarkable("`jobs` is not a list")
        candidates += many
    for job in candidates:
        if not isinstance(job, dict):
            raise Unmarkable("a job is not an object")
        yield job


def _names_like(job: dict[str, Any], field: str) -> list[str]:
    return [name for name in job if name.casefold() == field]


def _name_in(job: dict[str, Any], field: str) -> str:
    """The field's name as this job writes it."""
    names = _names_like(job, field)
    if len(names) > 1:
        raise Unmarkable(f"a job has `{field}` twice")
    return names[0] if names else field


def _member(job: dict[str, Any], field: str) -> Any:
    names = _names_like(job, field)
    return job[names[0]] if names else None


def _check_room(written: Any, field: str, marker_bytes: int) -> None:
    if written is None:
        return
    if not isinstance(written, str):
        raise Unmarkable(f"`{field}` is not a string")
    room = MAXIMUM_FIELD_BYTES - marker_bytes - 1
    if len(written.encode("utf-8")) > room:
        raise Unmarkable(f"`{field}` may have at most {room} bytes with an Idempotency-Key")
