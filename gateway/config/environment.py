"""SLURM_GATEWAY__SECTION__NAME variables -> settings that go over the file's."""

from collections.abc import Mapping
from typing import Any

from pydantic_settings import EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from gateway.config.gateway import Gateway
from gateway.config.problem import Problem, suggest
from gateway.config.shape import descend, fields_of

PREFIX = "SLURM_GATEWAY__"
_NEARLY = tuple(f"SLURM_GATEWAY_{section.upper()}__" for section in Gateway.model_fields)


def read_environment(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    """Nested settings, and a problem for each variable that is none."""
    settings: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, text in sorted(environ.items()):
        if not name.upper().startswith((PREFIX, *_NEARLY)):
            continue
        try:
            overlay(settings, _read_variable(name, text))
        except _UnknownVariable as unknown:
            problems.append(Problem(f"environment {name}", "is not a setting", str(unknown)))
        except SettingsError:
            remedy = 'write arrays and tables as JSON, such as ["10.0.0.0/8"]'
            problems.append(Problem(f"environment {name}", "is not valid JSON", remedy))
    return settings, problems


class _UnknownVariable(Exception):
    """The variable names no setting; its text is the remedy."""


def _read_variable(name: str, text: str) -> dict[str, Any]:
    if not name.upper().startswith(PREFIX):
        raise _UnknownVariable(f"settings begin with {PREFIX}, with two underscores")
    path = _path_of(name[len(PREFIX) :])
    source = EnvSettingsSource(Gateway)
    source.env_vars = {(PREFIX + "__".join(path)).lower(): text}
    return source()


def _path_of(rest: str) -> list[str]:
    """LIMIT__RATES__READ_HEAVY -> limit, rates, read-heavy (the file's own name)."""
    path: list[str] = []
    for step in rest.lower().split("__"):
        here = descend((Gateway,), path)
        known = list(fields_of(here.models)) if here and here.container == "section" else []
        spelled = {key.replace("-", "_"): key for key in known}.get(step.replace("-", "_"))
        if spelled is None and not (here and here.container == "named"):
            raise _UnknownVariable(_remedy(path, step, known))
        path.append(spelled or step)
    return path


def _remedy(path: list[str], step: str, known: list[str]) -> str:
    if not known:
        return f"{PREFIX}{'__'.join(path).upper()} takes one value (an array as JSON)"
    return suggest(step.upper(), (key.upper().replace("-", "_") for key in known)) if step else ""


def overlay(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Lay nested settings over others, in place; tables merge, everything else is replaced."""
    for key, value in above.items():
        current = below.get(key)
        if isinstance(current, dict) and isinstance(value, Mapping):
            overlay(current, value)
        else:
            below[key] = value
