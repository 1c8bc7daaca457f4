"""A value as any API version writes it -> a number, a text or a time, and the forms that Slurm's commands print."""

import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_INFINITE = frozenset({-1, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF})
_UNSET = frozenset({-2, 0xFFFFFFFE, 0xFFFFFFFFFFFFFFFE})
"""Those of 16 bits are left out: 65534 and 65535 are ids of jobs and users, and no field that is read here has 16 bits
and may be unset.
"""
_DAY, _HOUR, _MINUTE = 86_400, 3_600, 60
_NUMBERED = re.compile(r"(.*?)([0-9]+)")


def number(value: object) -> float | None:
    """A number, math.inf where there is no limit, None where nothing is set.

    Up to v0.0.38 a plain number, with Slurm's own values for "none" and "no limit"; later an object
    of `set`, `infinite` and `number`.
    """
    if isinstance(value, Mapping):
        if value.get("infinite"):
            return math.inf
        return _plain(value.get("number")) if value.get("set") else None
    found = _plain(value)
    if found in _UNSET:
        return None
    return math.inf if found in _INFINITE else found


def _plain(value: object) -> float | None:
    return None if isinstance(value, bool) or not isinstance(value, int | float) else value


def whole(value: object, otherwise: int = 0) -> int:
    """A finite number, or what stands for none."""
    found = number(value)
    return otherwise if found is None or math.isinf(found) else int(found)


def words(value: object) -> tuple[str, ...]:
    """A list of words, also where a version has one word or a text with commas."""
    if isinstance(value, str):
        return tuple(word for word in value.split(",") if word)
    if isinstance(value, Sequence):
        return tuple(str(word) for word in value)
    return ()


def text(value: object) -> str:
    """A text; empty for null."""
    return "" if value is None else str(value)


def duration(seconds: float) -> str:
    """As squeue prints a time: 5:09, 1:00:00, 2-00:00:00."""
    left = max(0, int(seconds))
    days, left = divmod(left, _DAY)
    hours, left = divmod(left, _HOUR)
    minutes, rest = divmod(left, _MINUTE)
    if days:
        return f"{days}-{hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def limit(minutes: float | None) -> str:
    """A time limit, which Slurm keeps in minutes."""
    if minutes is None:
        return "NOT_SET"
    return "UNLIMITED" if math.isinf(minutes) else duration(minutes * _MINUTE)


def moment(seconds: int) -> str:
    """A time of day of this machine, as Slurm's commands print it; Unknown for none."""
    if seconds <= 0:
        return "Unknown"
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(seconds))


def hostlist(names: Iterable[str]) -> str:
    """Slurm's short form: node[1-3,7],login. Names that end in a number are put together."""
    groups: dict[tuple[str, int], list[int]] = {}
    plain: list[str] = []
    for name in names:
        found = _NUMBERED.fullmatch(name)
        if found is None:
            plain.append(name)
            continue
        digits = found[2]
        width = len(digits) if digits.startswith("0") else 0
        groups.setdefault((found[1], width), []).append(int(digits))
    shown = [_group(prefix, width, found) for (prefix, width), found in groups.items()]
    return ",".join([*shown, *plain])


def _group(prefix: str, width: int, numbers: Sequence[int]) -> str:
    ranges: list[list[int]] = []
    for one in sorted(set(numbers)):
        if ranges and one == ranges[-1][1] + 1:
            ranges[-1][1] = one
        else:
            ranges.append([one, one])
    parts = [
        f"{first:0{width}}" if first == last else f"{first:0{width}}-{last:0{width}}"
        for first, last in ranges
    ]
    joined = ",".join(parts)
    return f"{prefix}{joined}" if len(numbers) == 1 else f"{prefix}[{joined}]"


def member(content: Mapping[str, Any], *path: str) -> Any:
    """What lies at this path; None where a part of it is missing."""
    found: Any = content
    for step in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(step)
    return found
