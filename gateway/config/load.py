"""(gateway.toml, environment) -> Gateway, or every mistake at once with its place and remedy."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.consistency import find_contradictions
from gateway.config.environment import overlay, read_environment
from gateway.config.gateway import Gateway
from gateway.config.problem import ConfigurationError, Problem, dotted, suggest
from gateway.config.shape import descend, fields_of

_SHOWN_INPUT = 60


def load(path: Path, environ: Mapping[str, str]) -> Gateway:
    """Read, overlay, validate each section, compare the sections. Raises ConfigurationError."""
    raw, problems = read_toml(path)
    overrides, more = read_environment(environ)
    problems += more
    if raw is None:
        raise ConfigurationError(problems)
    overlay(raw, overrides)
    try:
        return validate(raw, problems)
    except ConfigurationError as error:
        raise ConfigurationError(_say_where_from(error.problems, overrides)) from None


def _say_where_from(problems: Sequence[Problem], overrides: Mapping[str, Any]) -> Iterator[Problem]:
    """A value that the file does not have would be looked for in vain."""
    overridden = set(_leaves(overrides))
    for problem in problems:
        if problem.place in overridden:
            yield problem._replace(what=f"{problem.what}, from the environment")
        else:
            yield problem


def _leaves(settings: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield dotted((*path, name))


def validate(raw: dict[str, Any], problems: Sequence[Problem] = ()) -> Gateway:
    """Nested settings -> Gateway. Sections are validated one by one, so that all mistakes show."""
    found = [*problems, *_unknown_sections(raw)]
    sections: dict[str, BaseModel] = {}
    for name in Gateway.model_fields:
        section, mistakes = _validate_section(name, raw)
        found += mistakes
        if section is not None:
            sections[name] = section
    found += find_contradictions(sections)
    if found:
        raise ConfigurationError(found)
    return Gateway(**sections)  # type: ignore[arg-type]  # validated section by section


def read_toml(path: Path) -> tuple[dict[str, Any] | None, list[Problem]]:
    """The file's tables, or None and why not."""
    try:
        return tomllib.loads(path.read_text("utf-8")), []
    except tomllib.TOMLDecodeError as error:
        what, _, where = str(error).rpartition(" (at ")
        place = f"{path}, {where.rstrip(')')}" if what else str(path)
        return None, [Problem(place, f"is not TOML: {what or error}")]
    except UnicodeDecodeError as error:
        return None, [Problem(f"{path}, byte {error.start}", "is not UTF-8 text")]
    except FileNotFoundError:
        remedy = "copy config/gateway.toml and edit its first part, or name yours with --config"
        return None, [Problem(str(path), "does not exist", remedy)]
    except OSError as error:
        return None, [Problem(str(path), f"cannot be read: {error.strerror}")]


def _unknown_sections(raw: Mapping[str, Any]) -> list[Problem]:
    known = Gateway.model_fields
    return [
        Problem(name, "is not a section", suggest(name, known)) for name in raw if name not in known
    ]


def _validate_section(name: str, raw: Mapping[str, Any]) -> tuple[BaseModel | None, list[Problem]]:
    field = Gateway.model_fields[name]
    if name not in raw and not field.is_required():
        return field.get_default(call_default_factory=True), []
    adapter: TypeAdapter[BaseModel] = TypeAdapter(_hints()[name])
    try:
        return adapter.validate_python(raw.get(name, {})), []
    except ValidationError as error:
        return None, _explain(error, name, raw.get(name, {}))


@cache
def _hints() -> dict[str, Any]:
    return get_type_hints(Gateway, include_extras=True)


def _explain(error: ValidationError, name: str, raw: object) -> list[Problem]:
    """One problem a place: what pydantic says of each branch of a union is joined."""
    found: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        path = _clean_path(detail["loc"], raw)
        if not (
            detail["type"] == "too_short" and _at(raw, path)
        ):  # its items failed, and it is not empty
            found.setdefault((name, *path), []).append(detail)
    return [_problem(path, details) for path, details in found.items()]


def _clean_path(location: Sequence[str | int], raw: object) -> tuple[str | int, ...]:
    """Drop what pydantic adds for unions: the tag chosen, and the branch of a value."""
    path: list[str | int] = []
    here = raw
    for step in location:
        if isinstance(here, dict):
            if step not in here and step in (here.get("provider"), here.get("type")):
                continue
            here = here.get(str(step))
        elif isinstance(here, list) and isinstance(step, int):
            here = here[step]
        else:
            continue
        path.append(step)
    return tuple(path)


def _at(raw: object, path: Sequence[str | int]) -> object:
    for step in path:
        raw = raw[step]  # type: ignore[index]  # the path was walked on this very value
    return raw


def _problem(path: tuple[str | int, ...], details: list[ErrorDetails]) -> Problem:
    detail = details[0]
    match detail["type"]:
        case "extra_forbidden":
            parent = descend((Gateway,), path[:-1])
            known = fields_of(parent.models) if parent else {}
            return Problem(dotted(path), "is not a setting", suggest(str(path[-1]), known))
        case "missing":
            return Problem(dotted(path), "is required", _sentence(path))
        case "union_tag_invalid" | "union_tag_not_found":
            context = detail["ctx"]
            choices = str(context.get("expected_tags", "")) or "see config/gateway.toml"
            place = dotted((*path, str(context["discriminator"]).strip("'")))
            return Problem(place, f"must be one of {choices}")
        case _:
            first, *others = dict.fromkeys(map(_message, details))
            what = " or ".join([first, *(text.removeprefix("must be ") for text in others)])
            return Problem(dotted(path), what + _shown(detail["input"]), _sentence(path))


def _message(detail: ErrorDetails) -> str:
    text = detail["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    text = text.replace("Input should", "must")
    return text.replace("valid tuple", "valid array").replace("valid dictionary", "valid table")


def _shown(value: object) -> str:
    """The value itself where it is short; tables and arrays are not repeated."""
    if isinstance(value, str | int | float) and len(str(value)) <= _SHOWN_INPUT:
        return f" (it is {value!r})"
    return ""


def _sentence(path: Sequence[str | int]) -> str:
    """What the setting is for, from its docstring in the model."""
    parent = descend((Gateway,), path[:-1])
    field = fields_of(parent.models).get(str(path[-1])) if parent else None
    return " ".join((field.description or "").split()) if field else ""
