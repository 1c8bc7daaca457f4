"""The text of an option -> its value, as sbatch reads it. One function for each kind in options.tsv."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.client.trouble import Trouble
from gateway.client.when import until


class Unreadable(Exception):
    """The text is none of its kind; the message completes "it must be …"."""


_UNITS = {"": 1.0, "k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}
_MEMORY = re.compile(r"([0-9]{1,15})([kmgt]?)b?", re.IGNORECASE)
_COUNT = re.compile(r"([0-9]{1,9})([km]?)", re.IGNORECASE)
_THOUSANDS = {"": 1, "k": 1024, "m": 1024 * 1024}
_TIME = re.compile(r"(?:(\d{1,6})-)?(\d{1,9})(?::(\d{1,4}))?(?::(\d{1,4}))?")
_ARRAY = re.compile(
    r"\d{1,9}(?:-\d{1,9}(?::\d{1,9})?)?(?:,\d{1,9}(?:-\d{1,9}(?::\d{1,9})?)?)*(?:%\d{1,9})?"
)
_SIGNAL = re.compile(r"(?:([RB]{1,2}):)?([A-Za-z0-9]{1,10})(?:@(\d{1,5}))?")
_SIGNAL_FLAGS = {"B": "BATCH_JOB", "R": "RESERVATION_JOB"}
_DEFAULT_WARNING_SECONDS = 60
_MAIL = (
    "BEGIN",
    "END",
    "FAIL",
    "REQUEUE",
    "INVALID_DEPEND",
    "STAGE_OUT",
    "TIME_LIMIT",
    "TIME_LIMIT_90",
    "TIME_LIMIT_80",
    "TIME_LIMIT_50",
    "ARRAY_TASKS",
)
_MAIL_WORDS = {
    "TIME_LIMIT": "TIME=100%",
    "TIME_LIMIT_90": "TIME=90%",
    "TIME_LIMIT_80": "TIME=80%",
    "TIME_LIMIT_50": "TIME=50%",
    "INVALID_DEPEND": "INVALID_DEPENDENCY",
}
_MAIL_ALL = ("BEGIN", "END", "FAIL", "REQUEUE", "INVALID_DEPEND", "STAGE_OUT")
_DEFAULT_NICE = 100


def text(value: str, _now: float) -> str:
    """As it is."""
    if not value:
        raise Unreadable("something")
    return value


def count(value: str, _now: float) -> int:
    """A number that is not negative."""
    if not value.isascii() or not value.isdigit():
        raise Unreadable("a whole number")
    return int(value)


def minutes(value: str, _now: float) -> float:
    """minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]], or UNLIMITED."""
    if value.upper() in ("UNLIMITED", "INFINITE", "-1"):
        return math.inf
    return math.ceil(_seconds(value) / 60)


def delay(value: str, _now: float) -> int:
    """A time in the same forms, in seconds."""
    return _seconds(value)


def _seconds(value: str) -> int:
    found = _TIME.fullmatch(value)
    if not found:
        raise Unreadable("a time such as 30, 1:30:00, 2-12 or UNLIMITED")
    days, first, second, third = found.groups()
    if days is not None:
        parts = (int(days) * 24 + int(first), int(second or 0), int(third or 0))
    elif third is not None:
        parts = (int(first), int(second), int(third))
    else:
        parts = (0, int(first), int(second or 0))
    return parts[0] * 3600 + parts[1] * 60 + parts[2]


def memory(value: str, _now: float) -> int:
    """Megabytes; K, M, G and T may stand behind it."""
    found = _MEMORY.fullmatch(value)
    if not found:
        raise Unreadable("a size such as 500, 500M or 4G")
    return math.ceil(int(found[1]) * _UNITS[found[2].lower()])


def nodes(value: str, _now: float) -> list[int]:
    """4, 2-4 or 1k: one or two numbers."""
    numbers = []
    for part in value.split("-"):
        found = _COUNT.fullmatch(part)
        if not found:
            raise Unreadable("a number of nodes such as 4 or 2-4")
        numbers.append(int(found[1]) * _THOUSANDS[found[2].lower()])
    if len(numbers) > 2 or numbers[0] == 0 or numbers[-1] < numbers[0]:  # noqa: PLR2004 (from and to)
        raise Unreadable("a number of nodes such as 4 or 2-4")
    return numbers


def array(value: str, _now: float) -> str:
    """0-15, 1,3,5-7, 0-15:4, 0-15%4."""
    if not _ARRAY.fullmatch(value):
        raise Unreadable("indices such as 0-15, 1,3,7 or 0-15%4")
    return value


def begin(value: str, now: float) -> int:
    """A time that is to come, in seconds since 1970."""
    try:
        return int(until(value, now))
    except Trouble:
        raise Unreadable("a time such as 16:00, tomorrow, now+1hour or 2026-01-31T12:30") from None


def nice(value: str, _now: float) -> int:
    """100 where no number is given."""
    try:
        return int(value) if value else _DEFAULT_NICE
    except ValueError:
        raise Unreadable("a whole number") from None


def mail(value: str, _now: float) -> list[str]:
    """The events of --mail-type."""
    wanted = [word.strip().upper() for word in value.split(",") if word.strip()]
    if wanted == ["NONE"]:
        return []
    known = {*_MAIL, "ALL"}
    if not wanted or not known.issuperset(wanted):
        raise Unreadable(f"some of {', '.join(_MAIL)}, ALL or NONE")
    spread = [one for word in wanted for one in (_MAIL_ALL if word == "ALL" else (word,))]
    return [_MAIL_WORDS.get(one, one) for one in dict.fromkeys(spread)]


def mail_text(value: str, now: float) -> list[str]:
    """The same by sbatch's own names."""
    mail(value, now)
    return [word.strip().upper() for word in value.split(",") if word.strip()]


def hosts(value: str, _now: float) -> list[str]:
    """Names with commas; those in brackets stay together."""
    found = [one for one in re.split(r",(?![^\[]*\])", value) if one]
    if not found or any(not re.fullmatch(r"[A-Za-z0-9._\-\[\],]+", one) for one in found):
        raise Unreadable("names of nodes such as node1,node[3-5]")
    return found


def gpu(value: str, _now: float) -> str:
    """2 or a100:2 -> gres/gpu:2, gres/gpu:a100:2."""
    parts = value.split(",")
    if not all(re.fullmatch(r"(?:[A-Za-z][\w.-]*:)?\d{1,6}", part) for part in parts):
        raise Unreadable("a number of GPUs such as 2 or a100:2")
    return ",".join(f"gres/gpu:{part}" for part in parts)


def gpu_memory(value: str, now: float) -> str:
    """Megabytes for each GPU."""
    return f"gres/gpu:{memory(value, now)}"


def gres(value: str, _now: float) -> str:
    """gpu:2,shard:4 -> gres/gpu:2,gres/shard:4."""
    parts = value.split(",")
    if not all(re.fullmatch(r"[A-Za-z][\w.:/-]*", part) for part in parts):
        raise Unreadable("resources such as gpu:2 or gpu:a100:2")
    return ",".join(part if part.startswith("gres/") else f"gres/{part}" for part in parts)


def signal(value: str, _now: float) -> Mapping[str, Any]:
    """[R][B]:signal[@seconds]: 60 seconds before the end where it does not say.

    R is for jobs of a reservation that may be preempted. With these flags slurmctld of 24.11 and 26.05 refuses
    R where nothing may be preempted, as it refuses sbatch's (measured).
    """
    found = _SIGNAL.fullmatch(value)
    if not found:
        raise Unreadable("a signal such as USR1@120 or B:TERM@60")
    seconds = int(found[3]) if found[3] else _DEFAULT_WARNING_SECONDS
    flags = [flag for letter, flag in _SIGNAL_FLAGS.items() if letter in (found[1] or "")]
    made = {
        "kill_warning_signal": found[2].upper().removeprefix("SIG"),
        "kill_warning_delay": {"set": True, "infinite": False, "number": seconds},
    }
    return {**made, **({"kill_warning_flags": flags} if flags else {})}


def plain_signal(value: str, now: float) -> str:
    """The same up to v0.0.38, where it is for the steps alone."""
    signal(value, now)
    if ":" in value:
        raise Unreadable("a signal such as USR1@120: API v0.0.38 and older know no B: or R:")
    return value


def switches(value: str, _now: float) -> Mapping[str, Any]:
    """count[@time]."""
    number, at, wait = value.partition("@")
    made: dict[str, Any] = {
        "required_switches": {"set": True, "infinite": False, "number": count(number, 0)}
    }
    return {**made, "wait_for_switch": _seconds(wait)} if at else made


def one_of(*known: str) -> Callable[[str, float], str]:
    """A word of a few."""

    def read(value: str, _now: float) -> str:
        if value.lower() not in known:
            raise Unreadable(f"one of {', '.join(word for word in known if word)}")
        return value.lower()

    return read


def shared(value: str, now: float) -> list[str]:
    """--exclusive, and for whom."""
    return [one_of("", "user", "mcs", "topo")(value, now) or "none"]


def exclusive(value: str, now: float) -> str:
    """The same up to v0.0.38."""
    return one_of("", "user", "mcs")(value, now) or "exclusive"


def profile(value: str, _now: float) -> list[str]:
    """all, none, or some of energy, task, lustre, network."""
    words = [word.strip().upper() for word in value.split(",")]
    if words == ["ALL"]:
        return ["ENERGY", "LUSTRE", "NETWORK", "TASK"]
    if not {"NONE", "ENERGY", "TASK", "LUSTRE", "NETWORK"}.issuperset(words):
        raise Unreadable("all, none, or some of energy, task, lustre, network")
    return words


PARSERS: Mapping[str, Callable[[str, float], Any]] = {
    "text": text,
    "count": count,
    "minutes": minutes,
    "delay": delay,
    "memory": memory,
    "nodes": nodes,
    "array": array,
    "begin": begin,
    "deadline": begin,
    "nice": nice,
    "mail": mail,
    "mail-text": mail_text,
    "hosts": hosts,
    "gpu": gpu,
    "gpu-memory": gpu_memory,
    "gres": gres,
    "signal": signal,
    "plain-signal": plain_signal,
    "switches": switches,
    "shared": shared,
    "exclusive": exclusive,
    "profile": profile,
    "open-mode": one_of("append", "truncate"),
    "flag": lambda _value, _now: True,
    "off": lambda _value, _now: False,
    "oversubscribe": lambda _value, _now: ["oversubscribe"],
    "spread": lambda _value, _now: "SPREAD_JOB",
    "set": lambda _value, _now: "set",
    "yes-or-no": lambda value, now: one_of("yes", "no")(value, now) == "yes",
    "zero-or-one": lambda value, now: int(one_of("0", "1")(value or "1", now)),
    "kill-invalid": lambda value, now: {
        "yes": "KILL_INVALID_DEPENDENCY",
        "no": "NO_KILL_INVALID_DEPENDENCY",
    }[one_of("yes", "no")(value, now)],
}
