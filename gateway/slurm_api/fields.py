"""fields.tsv -> the fields of jobs and of bulk signals: every name and shape that slurmrestd reads.

The rows are the job descriptions of Slurm 20.11.4, 22.05.8, 24.11.5 and 26.05.5 as those daemons
document them, with the names that the parser up to v0.0.38 also knows (form `hidden`) or refuses
(`refused`). That parser folds names to lower case; later ones read them as they are written.
v0.0.39 follows v0.0.40: both come from one parser.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from gateway.slurm_api.versions import VersionRange

JOBS = "jobs"
"""The group of the fields of a job: submit, allocate, update."""
BULK = "bulk"
"""The group of the fields that choose jobs and say what happens to them."""

CONTAINERS = {"job": False, "jobs": True, "hetjob": True}
"""Where a body holds descriptions of jobs; whether it is a list of them."""


class Kind(StrEnum):
    """What a field's value means, and so what a rule can say of it."""

    TEXT = "text"
    WORDS = "words"
    NUMBER = "number"
    MINUTES = "minutes"
    COUNT = "count"
    TASKS = "tasks"
    FLAG = "flag"
    ENVIRONMENT = "environment"
    TABLE = "table"


CAPPED = frozenset({Kind.NUMBER, Kind.MINUTES, Kind.COUNT, Kind.TASKS})
"""Kinds whose values have a size."""


SIGNED = frozenset({"nice", "site_factor"})
"""Numbers that may be below 0. 24.11 and 26.05 keep the others without a sign: `cpus_per_task` -1 was 65,535 CPUs,
`memory_per_node` -1 all of a node's memory (measured). 20.11 and 22.05 refuse them."""

ZERO_IS_ALL = frozenset({"memory_per_node", "memory_per_cpu", "memory_per_gpu"})
"""Numbers whose 0 asks for everything that a node has (sbatch(1), --mem; measured on 22.05, 24.11 and 26.05)."""


class Name(NamedTuple):
    """One name of a field, in the versions that know it. `form` is how it is written there:
    plain, object ({set, infinite, number}), list, table, hidden or refused."""

    text: str
    kind: Kind
    versions: VersionRange
    form: str


@dataclass(frozen=True, slots=True)
class Field:
    """One field of one group, by the name that rules use for it."""

    group: str
    field: str
    kind: Kind
    names: tuple[Name, ...]

    @property
    def setting(self) -> str:
        """As the configuration names it: "time_limit", "bulk.signal"."""
        return self.field if self.group == JOBS else f"{self.group}.{self.field}"

    def written_in(self, version: int) -> Name | None:
        """The name and form to write it with; None where a version cannot be told."""
        for name in self.names:
            if name.versions.covers(version) and name.form not in ("hidden", "refused"):
                return name
        return None


class RuledOperation(NamedTuple):
    """An operation whose body rules look at. `makes_jobs`: forced fields are written into it."""

    group: str
    makes_jobs: bool


RULED: Mapping[str, RuledOperation] = {
    "POST /slurm/*/job/submit": RuledOperation(JOBS, makes_jobs=True),
    "POST /slurm/*/job/allocate": RuledOperation(JOBS, makes_jobs=True),
    "POST /slurm/*/job/{job_id}": RuledOperation(JOBS, makes_jobs=False),
    "DELETE /slurm/*/jobs": RuledOperation(BULK, makes_jobs=False),
    "POST /slurm/*/jobs/requeue": RuledOperation(BULK, makes_jobs=False),
}
"""By Operation.name."""

DEADLY: Mapping[str, VersionRange] = {"argv": VersionRange(36, 38)}
"""Fields, folded, that end slurmrestd for everybody with any value but an empty list (measured on 22.05.8)."""

PRIVILEGED = ("user_id", "group_id", "job_id", "admin_comment", "site_factor")
"""What Slurm takes from privileged users only: refused unless a role permits it."""


def is_deadly(group: str, version: int | None) -> bool:
    """Whether a body of these can end slurmrestd, so that it is looked at whatever its role permits."""
    return (
        group == JOBS
        and version is not None
        and any(versions.covers(version) for versions in DEADLY.values())
    )


def folded(name: str) -> str:
    """The form in which names are compared."""
    return name.casefold()


class Fields:
    """All fields, found by the name that rules use. Immutable."""

    __slots__ = ("by_setting",)

    def __init__(self, fields: Iterable[Field]) -> None:
        self.by_setting = {one.setting: one for one in fields}

    def names_of(self, setting: str) -> dict[str, Name]:
        """Every spelling of a field in any version, folded."""
        return {folded(name.text): name for name in self.by_setting[setting].names}


@cache
def read_fields() -> Fields:
    """The table that comes with the gateway."""
    text = files("gateway.slurm_api").joinpath("fields.tsv").read_text("ascii")
    rows: dict[tuple[str, str], list[Name]] = {}
    for row in csv.DictReader(text.splitlines(), delimiter="\t", strict=True):
        versions = VersionRange.parse_numbers(row["versions"])
        name = Name(row["name"], Kind(row["kind"]), versions, row["form"])
        rows.setdefault((row["group"], row["field"]), []).append(name)
    return Fields(_field(group, field, names) for (group, field), names in rows.items())


def _field(group: str, field: str, names: list[Name]) -> Field:
    kind = next(name.kind for name in names if name.text == field)
    return Field(group, field, kind, tuple(names))
