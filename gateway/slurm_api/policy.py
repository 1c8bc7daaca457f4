"""(what the configuration says of roles) -> Policy, or every mistake in it at once.

Deny by default, and a deny of one role wins over the allows of all. What a deny names is denied in
every version, whatever the `versions` of its role; an allow reaches only as far as `versions`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import NamedTuple, Protocol

from gateway.model import Operation, Risk
from gateway.slurm_api.catalogue import Catalogue, Entry, VersionedOperation
from gateway.slurm_api.field_rules import FieldRules, RoleFields, parse_field_rules
from gateway.slurm_api.fields import read_fields
from gateway.slurm_api.problem import PolicyProblem
from gateway.slurm_api.versions import VersionRange, version_text

DEFAULT_ALLOW = (Risk.READ, Risk.READ_HEAVY, Risk.SUBMIT, Risk.JOB_WRITE)
"""What everybody's role "user" may do where the configuration does not say."""

NOT_LISTED = "catalogue"
"""The rule of a refusal of what is no operation at all."""
NOT_ALLOWED = "authorize.roles"
"""The rule of a refusal because no role allows it."""

_CLASSES = tuple(risk.value for risk in Risk)
_PLACEHOLDER = re.compile(r"\{[^}/]*\}")


class RoleRules(RoleFields, Protocol):
    """A role as the configuration has it: class names and operations such as "GET /slurm/*/jobs"."""

    @property
    def allow(self) -> Sequence[str]: ...

    @property
    def deny(self) -> Sequence[str]: ...

    @property
    def versions(self) -> str: ...

    @property
    def own_jobs_only(self) -> bool: ...


class Answer(NamedTuple):
    """What one role says to a call, and by which rule; an empty rule where it says nothing."""

    role: str
    verdict: str
    rule: str


@dataclass(frozen=True, slots=True)
class RolePolicy:
    """One role. `allow` and `deny` map a class or an operation's name to the rule that says so."""

    name: str
    allow: Mapping[str, str]
    deny: Mapping[str, str]
    versions: VersionRange
    fields: Mapping[str, FieldRules] = field(default_factory=dict)
    """By group."""
    own_jobs_only: bool = False

    def denies(self, call: VersionedOperation, risk: Risk) -> str:
        """The rule that denies, or "". A class is denied also where a parameter raised it."""
        operation = call.entry.operation
        return (
            self.deny.get(operation.name)
            or self.deny.get(risk)
            or self.deny.get(operation.risk)
            or ""
        )

    def allows(self, call: VersionedOperation, risk: Risk) -> str:
        """The rule that allows, or "".

        An operation that is allowed by its name is allowed in its own class only: what a parameter
        raised needs the higher class.
        """
        if call.version is not None and not self.versions.covers(call.version):
            return ""
        operation = call.entry.operation
        if risk is operation.risk and (rule := self.allow.get(operation.name)):
            return rule
        return self.allow.get(risk, "")

    def answer(self, call: VersionedOperation, risk: Risk) -> Answer:
        if rule := self.denies(call, risk):
            return Answer(self.name, "deny", rule)
        if rule := self.allows(call, risk):
            return Answer(self.name, "allow", rule)
        return Answer(self.name, "nothing", "")


class Decision(NamedTuple):
    """The verdict over all roles and the rule that gave it. `roles` are those that allow it."""

    granted: bool
    rule: str
    roles: tuple[RolePolicy, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """All roles of one configuration."""

    roles: Mapping[str, RolePolicy]

    def decide(self, names: Iterable[str], call: VersionedOperation, risk: Risk) -> Decision:
        """May somebody with these roles have this call? A role that is not configured says nothing."""
        roles = [self.roles[name] for name in names if name in self.roles]
        for role in roles:
            if rule := role.denies(call, risk):
                return Decision(granted=False, rule=rule)
        allowing = [(role, rule) for role in roles if (rule := role.allows(call, risk))]
        if not allowing:
            return Decision(granted=False, rule=NOT_ALLOWED)
        return Decision(True, allowing[0][1], tuple(role for role, _ in allowing))

    def answers(
        self, names: Iterable[str], call: VersionedOperation, risk: Risk
    ) -> tuple[Answer, ...]:
        """What each role says, for `explain`."""
        return tuple(
            self.roles[name].answer(call, risk)
            if name in self.roles
            else Answer(name, "nothing", "")
            for name in names
        )


def parse_policy(
    roles: Mapping[str, RoleRules], catalogue: Catalogue
) -> tuple[Policy, list[PolicyProblem]]:
    """Read every role. The policy may be used only if there are no problems."""
    problems: list[PolicyProblem] = []
    names = _names_by_shape(entry.operation for entry in catalogue.entries)
    read: dict[str, RolePolicy] = {}
    for role, rules in roles.items():
        place = f"authorize.roles.{role}"
        versions = _versions(f"{place}.versions", rules.versions, catalogue, problems)
        fields, mistakes = parse_field_rules(role, rules, read_fields())
        read[role] = RolePolicy(
            role,
            _grants(f"{place}.allow", rules.allow, names, problems),
            _grants(f"{place}.deny", rules.deny, names, problems),
            versions,
            fields,
            rules.own_jobs_only,
        )
        problems += mistakes
    return Policy(read), problems


def read_names(
    place: str, entries: Sequence[str], catalogue: Catalogue
) -> tuple[tuple[str, ...], list[PolicyProblem]]:
    """Classes and operations by their exact names, and which entries are neither."""
    problems: list[PolicyProblem] = []
    names = _names_by_shape(entry.operation for entry in catalogue.entries)
    return tuple(_grants(place, entries, names, problems)), problems


def shape_of(name: str) -> str:
    """ "GET /slurm/*/job/{job_id}" -> "GET /slurm/*/job/{}": Slurm renamed some parameters."""
    return _PLACEHOLDER.sub("{}", name)


def _names_by_shape(operations: Iterable[Operation]) -> dict[str, str]:
    return {shape_of(operation.name): operation.name for operation in operations}


def _grants(
    place: str, entries: Sequence[str], names: Mapping[str, str], problems: list[PolicyProblem]
) -> dict[str, str]:
    """Each entry as the class or the operation that it names."""
    found: dict[str, str] = {}
    for index, entry in enumerate(entries):
        name = _class_of(entry) or names.get(shape_of(" ".join(entry.split())))
        if name is None:
            problems.append(_unknown(f"{place}[{index}]", entry, names.values()))
        else:
            found[name] = f"{place}[{entry}]"
    return found


def _class_of(entry: str) -> str | None:
    return entry if entry in _CLASSES else None


def _unknown(place: str, entry: str, operations: Iterable[str]) -> PolicyProblem:
    if "/" not in entry:
        what = f"{entry!r} is no class"
        return PolicyProblem(place, what, _suggest(entry.upper(), _CLASSES))
    known = list(operations)
    if re.search(r"/v0\.0\.[0-9]+(/|$)", entry):
        remedy = "write * for the version; `versions` says which versions the role may call"
    else:
        remedy = _suggest(entry, known)
    return PolicyProblem(place, f"{entry!r} is no operation", remedy)


def _suggest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    if near:
        return f'did you mean "{near[0]}"?'
    return "`slurm-gateway operations` lists all operations and their classes"


def _versions(
    place: str, text: str, catalogue: Catalogue, problems: list[PolicyProblem]
) -> VersionRange:
    """The role's range, held to the versions that the catalogue knows."""
    known = VersionRange(*_ends(catalogue))
    try:
        wanted = VersionRange.parse(text)
    except ValueError as error:
        problems.append(PolicyProblem(place, str(error), f'write "{known}", for example'))
        return known
    for version in {wanted.first, wanted.last}:
        if not known.covers(version):
            what = f"{version_text(version)} is no version that this gateway knows"
            problems.append(PolicyProblem(place, what, f"known are {known}"))
    return wanted.overlap(known) or known


def _ends(catalogue: Catalogue) -> tuple[int, int]:
    ranges = [entry.versions for entry in catalogue.entries if entry.versions is not None]
    return min(one.first for one in ranges), max(one.last for one in ranges)


def reachable(
    policy: Policy, names: Sequence[str], catalogue: Catalogue, version: int | None = None
) -> tuple[Entry, ...]:
    """What somebody with these roles may call without raising its class: in this version, or in any."""
    return tuple(
        entry
        for entry in catalogue.entries
        if any(
            policy.decide(names, call, entry.operation.risk).granted
            for call in catalogue.versions_of(entry)
            if version is None or call.version in (None, version)
        )
    )
