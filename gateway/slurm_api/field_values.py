"""(a field's value as JSON, its kind) -> its size or its words, or ValueError where it has none for certain.

Nothing is guessed: Slurm converts texts, lists and objects rather freely, and differently from
release to release, so a value is read only in the forms that have one meaning everywhere.
"""

import re
from typing import Any

from gateway.slurm_api.fields import Kind

_DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)
_SIGNED = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_DURATION = re.compile(
    r"(?:(?P<days>[0-9]{1,5})-)?(?P<first>[0-9]{1,9})(?::(?P<second>[0-9]{1,2}))?"
    r"(?::(?P<third>[0-9]{1,2}))?",
    re.ASCII,
)
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?::([1-9][0-9]{0,8}))?)?", re.ASCII)
_AT_ONCE = re.compile(r"%[0-9]{1,9}", re.ASCII)
_NUMBER_OBJECT = frozenset({"set", "infinite", "number"})
_MINUTES_PER_HOUR, _HOURS_PER_DAY = 60, 24


def size_of(kind: Kind, value: Any) -> int:
    """Minutes, nodes, array tasks or the number itself, at their largest. Raises ValueError."""
    value = number_in(value)
    match kind:
        case Kind.MINUTES:
            return _minutes(value)
        case Kind.COUNT:
            return max(_counts(value))
        case Kind.TASKS:
            return _tasks(value)
        case _:
            return _number(value)


def words_of(value: Any) -> tuple[str, ...]:
    """The texts of a value: of a list, of a comma list, or the one that it is. Raises ValueError."""
    value = number_in(value)
    match value:
        case str():
            return tuple(value.split(","))
        case bool():
            return ("true" if value else "false",)
        case int():
            return (str(value),)
        case list() if value:
            return tuple(word for item in value for word in words_of(item))
        case _:
            raise ValueError("neither a text nor a list of texts")


def number_in(value: Any) -> Any:
    """The number of {set, infinite, number}; anything else as it is. Raises ValueError."""
    if not isinstance(value, dict):
        return value
    members = {name.casefold(): member for name, member in value.items()}
    if not members.keys() <= _NUMBER_OBJECT or "number" not in members:
        raise ValueError("not {set, infinite, number}")
    if members.get("set", True) is not True or members.get("infinite", False) is not False:
        raise ValueError("infinite, or not set")
    return members["number"]


def _number(value: Any) -> int:
    if isinstance(value, str) and _SIGNED.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("not a whole number")


def _positive(value: Any) -> int:
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise ValueError("not a whole number above 0")


def _minutes(value: Any) -> int:
    """sbatch(1), --time: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]].

    0 and -1 mean "no limit", so they are no size.
    """
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return _positive(value)
    days, first, second, third = (int(part or 0) for part in found.groups())
    if found["days"]:
        minutes = (days * _HOURS_PER_DAY + first) * _MINUTES_PER_HOUR + second + _up(third)
    elif found["third"]:
        minutes = first * _MINUTES_PER_HOUR + second + _up(third)
    else:
        minutes = first + _up(second)
    return _positive(minutes)


def _up(seconds: int) -> int:
    """Whole minutes, rounded up as Slurm rounds them."""
    return -(-seconds // _MINUTES_PER_HOUR)


def _counts(value: Any) -> list[int]:
    """4, "4", "2-4", "2-8:2", "1,2,4" or a list of such."""
    match value:
        case str():
            parts = [_RANGE.fullmatch(part) for part in value.split(",")]
            if None in parts:
                raise ValueError("not a count or a range of counts")
            return [_positive(part) for found in parts for part in found.groups()[:2] if part]  # type: ignore[union-attr]  # None was refused
        case list() if value:
            return [count for item in value for count in _counts(item)]
        case _:
            return [_positive(value)]


def _tasks(value: Any) -> int:
    """sbatch(1), --array: "0-15", "1,3,5-7", "0-15:4", with "%4" behind."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("not the text of an array")  # noqa: TRY004 (the caller's answer is the same)
    indices, percent, _ = value.partition("%")
    if percent and not _AT_ONCE.fullmatch(value[len(indices) :]):
        raise ValueError("not the text of an array")
    return sum(_task_count(part) for part in indices.split(","))


def _task_count(part: str) -> int:
    found = _RANGE.fullmatch(part)
    if found is None:
        raise ValueError("not the text of an array")
    first, last, step = found.groups()
    if last is None:
        return 1
    if int(last) < int(first):
        raise ValueError("an array that ends before it begins")
    return (int(last) - int(first)) // int(step or 1) + 1
