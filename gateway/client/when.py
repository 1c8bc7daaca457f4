"""A time as people type it for sacct and sbatch -> seconds since 1970.

Days are counted on this machine's calendar, without a zone until the end: on the day on which clocks change, 16:00 is
not sixteen hours behind midnight.
"""

import re
from datetime import datetime, timedelta

from gateway.client.trouble import Exit, Trouble, printable

_RELATIVE = re.compile(r"now(?:([+-])(\d{1,9})(second|minute|hour|day|week)?s?)?")
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_HOURS = {"midnight": 0, "noon": 12, "elevenses": 11, "fika": 15, "teatime": 16}
_FORMS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%m/%d/%y", "%m/%d/%Y")
_TIMES = ("%H:%M", "%H:%M:%S")
_SIX_DIGITS = re.compile(r"[0-9]{6}")
"""strptime would read four as a month, a day and a year of one digit each, or nearly so."""
_NO_YEAR = re.compile(r"([0-9]{2})([0-9]{2})|([0-9]{1,2})/([0-9]{1,2})")
_FIRST_YEAR = 1970
_YEARS_TO_A_LEAP_DAY = 8
"""At most: 2100 has none."""


def since(typed: str, now: float) -> float:
    """A time for looking back, as sacct reads -S: a time of day is today's, a day the latest such. Raises Trouble."""
    return _read(typed, now, ahead=False)


def until(typed: str, now: float) -> float:
    """A time for looking ahead, as sbatch reads --begin: a time of day or a day is the next such. Raises Trouble."""
    return _read(typed, now, ahead=True)


def _read(typed: str, now: float, *, ahead: bool) -> float:
    word = typed.strip().lower()
    found = _RELATIVE.fullmatch(word)
    if found:
        seconds = int(found[2] or 0) * _UNITS[found[3] or "second"]
        return now - seconds if found[1] == "-" else now + seconds
    here = datetime.fromtimestamp(now)  # noqa: DTZ006 (see above)
    day = here.replace(hour=0, minute=0, second=0, microsecond=0)
    if word in ("today", "tomorrow"):
        return (day + timedelta(days=word == "tomorrow")).timestamp()
    clock = _time_of_day(word, day)
    if clock is not None:
        is_over = ahead and clock.timestamp() <= now
        return (clock + timedelta(days=is_over)).timestamp()
    moment = _date(word) or _day_without_year(word, here, ahead=ahead)
    if moment is not None:
        return moment.timestamp()
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


def _date(word: str) -> datetime | None:
    forms = (*_FORMS, "%m%d%y") if _SIX_DIGITS.fullmatch(word) else _FORMS
    found = (_parsed(word.upper(), form) for form in forms)
    return next((one for one in found if one is not None and one.year >= _FIRST_YEAR), None)


def _day_without_year(word: str, here: datetime, *, ahead: bool) -> datetime | None:
    """MMDD or MM/DD: the next midnight that begins such a day, or the last one (measured on 22.05 and 26.05)."""
    found = _NO_YEAR.fullmatch(word)
    if found is None:
        return None
    month_and_day = f"{found[1] or found[3]}-{found[2] or found[4]}"
    step = 1 if ahead else -1
    for year in range(here.year, here.year + step * (_YEARS_TO_A_LEAP_DAY + 1), step):
        day = _parsed(f"{year:04}-{month_and_day}", "%Y-%m-%d")
        if day is not None and (day > here) is ahead:
            return day
    return None


def _parsed(word: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(word, form)  # noqa: DTZ007 (this machine's time, as Slurm's commands)
    except ValueError:
        return None
