"""What somebody types for a time -> that moment: "2h", "yesterday", "2026-03-01T12:00Z"."""

import re
from datetime import datetime, timedelta

_AGO = re.compile(r"(\d{1,6})\s*(s|m|h|d|w)(?:\s+ago)?")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
EXAMPLES = "2h, 30m, 7d, today, yesterday, 2026-03-01 or 2026-03-01T12:00:00Z"


def read_moment(text: str, now: datetime) -> datetime:
    """Relative to `now`, whose zone is that of times without one. Raises ValueError."""
    words = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    named = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    if words in named:
        return named[words]
    if ago := _AGO.fullmatch(words):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"write a time as {EXAMPLES}") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
