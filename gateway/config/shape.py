"""(a model's annotation) -> the sections, names and defaults below it: what the file may hold."""

from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo


class Below(NamedTuple):
    """What stands below a name: one section, an array of them, or a table of named ones."""

    container: Literal["value", "section", "array", "named"]
    models: tuple[type[BaseModel], ...] = ()


def below(annotation: Any) -> Below:
    """Look through Annotated, unions, tuples and dicts for the sections inside."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return below(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Below("section", (annotation,))
    if origin in (Union, UnionType):
        return _below_union(get_args(annotation))
    if origin is tuple:
        return _contained("array", get_args(annotation)[0])
    if origin is dict:
        return _contained("named", get_args(annotation)[1])
    return Below("value")


def _below_union(members: Sequence[Any]) -> Below:
    found = [below(member) for member in members if member is not NoneType]
    models = tuple(model for one in found if one.container == "section" for model in one.models)
    return Below("section", models) if models else Below("value")


def _contained(container: Literal["array", "named"], inner: Any) -> Below:
    models = below(inner).models
    return Below(container, models) if models else Below("value")


def key_of(name: str, field: FieldInfo) -> str:
    """The setting's name in the file: "read-heavy" where the attribute is `read_heavy`."""
    return field.alias or name


def fields_of(models: Sequence[type[BaseModel]]) -> dict[str, FieldInfo]:
    """Every setting that one of the models knows, by its name in the file."""
    return {
        key_of(name, field): field for model in models for name, field in model.model_fields.items()
    }


def descend(models: Sequence[type[BaseModel]], path: Sequence[str | int]) -> Below | None:
    """What stands at a path below the models; None where they know no such path."""
    here = Below("section", tuple(models))
    for step in path:
        if here.container in ("array", "named"):
            here = Below("section", here.models)
            continue
        field = fields_of(here.models).get(str(step))
        if field is None:
            return None
        here = below(field.annotation)
    return here


def describe(annotation: Any) -> str:
    """A type in an admin's words: "text", "whole number", "true or false"."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(inner[0])
    if origin is Literal:
        return " or ".join(f'"{choice}"' for choice in inner)
    if origin in (Union, UnionType):
        words = [describe(member) for member in inner if member is not NoneType]
        return " or ".join(dict.fromkeys(words))
    if origin is tuple:
        return f"array of {describe(inner[0])}"
    if origin is dict:
        return f"table of {describe(inner[1])}"
    words_of_type = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return words_of_type.get(annotation, "path" if annotation.__name__ == "Path" else "table")


def discriminator_of(model: type[BaseModel]) -> tuple[str, str] | None:
    """("provider", "mint") for a section that is one of several; None for others."""
    for name, field in model.model_fields.items():
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        if len(choices) == 1 and field.is_required():
            return name, str(choices[0])
    return None


def walk(
    models: Sequence[type[BaseModel]], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Below]]:
    """Every section below the models in the order of the file, with its path."""
    for name, field in fields_of(models).items():
        here = below(field.annotation)
        if here.models:
            yield (*path, name), here
            yield from walk(here.models, (*path, name))
