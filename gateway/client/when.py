"""A time as people type it for sacct and sbatch -> seconds since 1970."""

import re
from datetime import datetime, timedelta

from gateway.client.trouble import Exit, Trouble, printable

_RELATIVE = re.compile(r"now(?:([+-])(\d{1,9})(second|minute|hour|day|week)?s?)?")
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_HOURS = {"midnight": 0, "noon": 12, "elevenses": 11, "fika": 15, "teatime": 16}
_FORMS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%m/%d/%y", "%m/%d/%Y", "%m%d%y")
_TIMES = ("%H:%M", "%H:%M:%S")


def since(typed: str, now: float) -> float:
    """A time for looking back: a time of day is today's. Raises Trouble."""
    return _read(typed, now, ahead=False)


def until(typed: str, now: float) -> float:
    """A time for looking ahead, as sbatch reads --begin: a time of day that is over is tomorrow's. Raises Trouble."""
    return _read(typed, now, ahead=True)


def _read(typed: str, now: float, *, ahead: bool) -> float:
    word = typed.strip().lower()
    today = datetime.fromtimestamp(now).astimezone()
    found = _RELATIVE.fullmatch(word)
    if found:
        seconds = int(found[2] or 0) * _UNITS[found[3] or "second"]
        return now - seconds if found[1] == "-" else now + seconds
    day = today.replace(hour=0, minute=0, second=0, microsecond=0)
    if word in ("today", "tomorrow"):
        return (day + timedelta(days=word == "tomorrow")).timestamp()
    clock = _time_of_day(word, day)
    if clock is not None:
        is_over = ahead and clock.timestamp() <= now
        return (clock + timedelta(days=is_over)).timestamp()
    for form in _FORMS:
        moment = _parsed(typed.strip().upper(), form)
        if moment is not None:
            return moment.astimezone().timestamp()
    raise Trouble(
        Exit.WRONG_CALL,
        f"{printable(typed)!r} is no time.",
        "write it as 2026-01-31, 2026-01-31T14:30, 14:30, today or now-2hours",
    )


def _time_of_day(word: str, day: datetime) -> datetime | None:
    if word in _HOURS:
        return day.replace(hour=_HOURS[word])
    for form in _TIMES:
        moment = _parsed(word, form)
        if moment is not None:
            return day.replace(hour=moment.hour, minute=moment.minute, second=moment.second)
    return None


def _parsed(word: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(word, form)  # noqa: DTZ007 (this machine's time, as Slurm's commands)
    except ValueError:
        return None
