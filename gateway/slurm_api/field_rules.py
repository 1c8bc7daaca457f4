"""(what the configuration says of a role's fields) -> FieldRules, or every mistake in it at once."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Protocol, TypeVar

from gateway.slurm_api.fields import (
    BULK,
    CAPPED,
    JOBS,
    PRIVILEGED,
    SIGNED,
    ZERO_IS_ALL,
    Field,
    Fields,
    Kind,
    folded,
)
from gateway.slurm_api.problem import PolicyProblem

Value = str | int | bool | Sequence[str]
"""What a field can be forced to."""

_ENVIRONMENTS = frozenset({"environment", "spank_environment"})


class RoleFields(Protocol):
    """The settings of a role that are about fields."""

    @property
    def forbid_fields(self) -> Sequence[str]: ...

    @property
    def permit_fields(self) -> Sequence[str]: ...

    @property
    def require_fields(self) -> Sequence[str]: ...

    @property
    def force_fields(self) -> Mapping[str, Value]: ...

    @property
    def maximum(self) -> Mapping[str, int]: ...

    @property
    def only_values(self) -> Mapping[str, Sequence[str]]: ...

    @property
    def forbid_environment(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Cap:
    """A field's largest size."""

    field: Field
    maximum: int
    switches: frozenset[str]
    """Names that hold yes or no in some version, which is no size (`minimum_nodes` up to v0.0.38)."""

    def admits(self, size: int) -> bool:
        """Whether the size is within the cap, and not one of those that stand for more."""
        if size <= 0 and self.field.field not in SIGNED:
            return size == 0 <= self.maximum and self.field.field not in ZERO_IS_ALL
        return size <= self.maximum


@dataclass(frozen=True, slots=True)
class Choice:
    """A field's possible words."""

    field: Field
    words: frozenset[str]


@dataclass(frozen=True, slots=True)
class Forced:
    """A field that has one value, whatever the body says."""

    field: Field
    value: Value


Rule = TypeVar("Rule", Cap, Choice, Forced)


@dataclass(frozen=True, slots=True)
class FieldRules:
    """One role's rules for one group of fields; every mapping is by folded name."""

    role: str
    forbidden: Mapping[str, Field] = field(default_factory=dict)
    required: Sequence[tuple[Field, frozenset[str]]] = ()
    forced: Sequence[Forced] = ()
    forced_names: Mapping[str, Forced] = field(default_factory=dict)
    caps: Mapping[str, Cap] = field(default_factory=dict)
    choices: Mapping[str, Choice] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    """Variables that an environment may not have; a trailing * stands for any rest."""

    @property
    def is_empty(self) -> bool:
        """Whether a body need not be looked at."""
        return not (
            self.forbidden
            or self.required
            or self.forced
            or self.caps
            or self.choices
            or self.variables
        )

    @property
    def place(self) -> str:
        """Where these rules stand, for the audit."""
        return f"authorize.roles.{self.role}"


def parse_field_rules(
    role: str, rules: RoleFields, fields: Fields
) -> tuple[dict[str, FieldRules], list[PolicyProblem]]:
    """The role's rules by group. They may be used only if there are no problems."""
    reading = _Reading(f"authorize.roles.{role}", fields)
    forbidden = reading.known("forbid_fields", rules.forbid_fields)
    permitted = reading.known("permit_fields", rules.permit_fields)
    required = reading.known("require_fields", rules.require_fields)
    forced = reading.forced(rules.force_fields)
    caps = reading.caps(rules.maximum)
    choices = reading.choices(rules.only_values)
    reading.check_permitted(permitted, forbidden)
    refused = [*forbidden, *(fields.by_setting[name] for name in PRIVILEGED)]
    refused = [one for one in refused if one not in permitted]
    made = {
        group: FieldRules(
            role,
            forbidden={name: one for one in _of(group, refused) for name in _names(one)},
            required=[(one, frozenset(_names(one))) for one in _of(group, required)],
            forced=[one for one in forced if one.field.group == group],
            forced_names=_by_name(group, forced),
            caps=_by_name(group, caps),
            choices=_by_name(group, choices),
            variables=tuple(rules.forbid_environment) if group == JOBS else (),
        )
        for group in (JOBS, BULK)
    }
    return made, reading.problems


def _of(group: str, fields: Iterable[Field]) -> list[Field]:
    return [one for one in fields if one.group == group]


def _names(one: Field) -> list[str]:
    return [folded(name.text) for name in one.names]


def _by_name(group: str, rules: Iterable[Rule]) -> dict[str, Rule]:
    return {name: one for one in rules if one.field.group == group for name in _names(one.field)}


def _switches(one: Field) -> frozenset[str]:
    return frozenset(folded(name.text) for name in one.names if name.kind is Kind.FLAG)


class _Reading:
    """Collects mistakes while the settings of one role are read."""

    def __init__(self, place: str, fields: Fields) -> None:
        self._place = place
        self._fields = fields
        self.problems: list[PolicyProblem] = []

    def known(self, setting: str, names: Sequence[str]) -> list[Field]:
        found = [self._field(f"{setting}[{index}]", name) for index, name in enumerate(names)]
        return [one for one in found if one is not None]

    def check_permitted(self, permitted: Sequence[Field], forbidden: Sequence[Field]) -> None:
        for index, one in enumerate(permitted):
            place = f"permit_fields[{index}]"
            if one in forbidden:
                self._tell(place, f"{one.setting} is forbidden too", "remove one of them")
            elif one.setting not in PRIVILEGED:
                remedy = (
                    f"only these are refused unless they are permitted: {', '.join(PRIVILEGED)}"
                )
                self._tell(place, f"{one.setting} is permitted anyway", remedy)

    def forced(self, values: Mapping[str, Value]) -> list[Forced]:
        found = []
        for name, value in values.items():
            place = f"force_fields.{name}"
            one = self._field(place, name)
            if one is None:
                continue
            if one.kind in (Kind.ENVIRONMENT, Kind.TABLE) or one.setting == "script":
                self._tell(place, f"{name} cannot be forced", "forbid it instead")
            elif not _fits(one.kind, value):
                self._tell(place, f"{value!r} is no value of {name}", _value_of(one.kind))
            else:
                found.append(Forced(one, value))
        return found

    def caps(self, maxima: Mapping[str, int]) -> list[Cap]:
        found = []
        for name, maximum in maxima.items():
            place = f"maximum.{name}"
            one = self._field(place, name)
            if one is None:
                continue
            if one.kind not in CAPPED:
                self._tell(place, f"{name} has no size", "limit it with only_values, or forbid it")
            else:
                found.append(Cap(one, maximum, _switches(one)))
        return found

    def choices(self, words: Mapping[str, Sequence[str]]) -> list[Choice]:
        found = []
        for name, choice in words.items():
            place = f"only_values.{name}"
            one = self._field(place, name)
            if one is None:
                continue
            if one.kind in (Kind.ENVIRONMENT, Kind.TABLE) or one.setting == "script":
                self._tell(place, f"{name} cannot be compared with a list", "forbid it instead")
            else:
                found.append(Choice(one, frozenset(choice)))
        return found

    def _field(self, place: str, name: str) -> Field | None:
        one = self._fields.by_setting.get(name)
        if one is None:
            near = get_close_matches(name, self._fields.by_setting, n=1, cutoff=0.6)
            remedy = f'did you mean "{near[0]}"?' if near else "docs/rules.md lists the fields"
            self._tell(place, f"{name!r} is no field", remedy)
        return one

    def _tell(self, place: str, what: str, remedy: str) -> None:
        self.problems.append(PolicyProblem(f"{self._place}.{place}", what, remedy))


def _fits(kind: Kind, value: Value) -> bool:
    match kind:
        case Kind.FLAG:
            return isinstance(value, bool)
        case Kind.NUMBER | Kind.MINUTES:
            return isinstance(value, int) and not isinstance(value, bool)
        case Kind.COUNT | Kind.TASKS:
            return isinstance(value, int | str) and not isinstance(value, bool)
        case _:
            return not isinstance(value, bool | int)


def _value_of(kind: Kind) -> str:
    match kind:
        case Kind.FLAG:
            return "write true or false"
        case Kind.NUMBER | Kind.MINUTES:
            return "write a whole number"
        case _:
            return "write a text"


def is_environment(name: str) -> bool:
    """Whether a folded name holds variables."""
    return name in _ENVIRONMENTS
