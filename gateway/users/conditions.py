"""(client address, token, clock) -> which of a user's roles are held for this one request."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple

from gateway.model import Clock, Identity, InboundRequest
from gateway.users.assurance import Assurance

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_PER_DAY = 1440
_MINUTES_PER_HOUR = 60
_TIME = re.compile(
    r"(?:(?P<days>[A-Za-z,-]+)(?: |$))?"
    r"(?:(?P<begin>(?:[01][0-9]|2[0-3]):[0-5][0-9])-(?P<end>(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Hours:
    """Some days of the week, from one minute of the day to before another.

    `days` are numbers, 0 is Monday. Where `end` is not after `begin`, the hours run on into the
    next day.
    """

    days: frozenset[int]
    begin: int
    end: int

    def include(self, moment: datetime) -> bool:
        """Whether a local time is within."""
        minute = moment.hour * _MINUTES_PER_HOUR + moment.minute
        today = moment.weekday()
        if self.begin < self.end:
            return today in self.days and self.begin <= minute < self.end
        yesterday = (today - 1) % len(_DAYS)
        return (today in self.days and minute >= self.begin) or (
            yesterday in self.days and minute < self.end
        )


def read_hours(text: str) -> Hours:
    """ "Mon-Fri 08:00-18:00", "Sat,Sun" or "22:00-06:00". Raises ValueError."""
    found = _TIME.fullmatch(text)
    if found is None or not text:
        raise ValueError('must be such as "Mon-Fri 08:00-18:00", "Sat,Sun" or "22:00-06:00"')
    days = _days(found["days"]) if found["days"] else frozenset(range(len(_DAYS)))
    if not found["begin"]:
        return Hours(days, 0, _MINUTES_PER_DAY)
    begin, end = _minute(found["begin"]), _minute(found["end"])
    if begin == end:
        raise ValueError("ends when it begins")
    return Hours(days, begin, end)


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise ValueError(f"days are {', '.join(day.title() for day in _DAYS)}")
        begin = _DAYS.index(first)
        length = (_DAYS.index(last) - begin) % len(_DAYS) if dash else 0
        found |= {(begin + step) % len(_DAYS) for step in range(length + 1)}
    return frozenset(found)


def _minute(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * _MINUTES_PER_HOUR + int(minutes)


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be so for a role to be held; nothing where all of it is empty."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hours: tuple[Hours, ...] = ()
    zone: tzinfo | None = None
    maximum_token_seconds: float | None = None
    assurance: Assurance | None = None


class Held(NamedTuple):
    """The roles that are held, and why others are not: "operator (source network)".

    `weak` are those that a stronger or newer sign-in would bring, and nothing else is in the way of.
    """

    roles: tuple[str, ...]
    missed: tuple[str, ...]
    weak: tuple[tuple[str, Assurance], ...] = ()


class Conditions:
    """The conditions of all roles that have any."""

    def __init__(self, by_role: Mapping[str, Condition], now: Clock) -> None:
        self._by_role = by_role
        self._now = now
        self._is_within = lru_cache(maxsize=4096)(self._look_up)

    def __call__(self, request: InboundRequest, identity: Identity, roles: Sequence[str]) -> Held:
        """What cannot be told (an address that is none, a token without times) is not met."""
        held, missed, weak = [], [], []
        for role in roles:
            condition = self._by_role.get(role)
            reason = self._missing(role, condition, request, identity) if condition else ""
            assurance = condition.assurance if condition else None
            if not reason and assurance and not assurance.is_met(identity, self._now()):
                reason = "strength of the sign-in"
                weak.append((role, assurance))
            if reason:
                missed.append(f"{role} ({reason})")
            else:
                held.append(role)
        return Held(tuple(held), tuple(missed), tuple(weak))

    def _missing(
        self, role: str, condition: Condition, request: InboundRequest, identity: Identity
    ) -> str:
        if condition.networks and not self._is_within(role, request.client_address):
            return "source network"
        if condition.hours:
            moment = datetime.fromtimestamp(self._now(), condition.zone)
            if not any(hours.include(moment) for hours in condition.hours):
                return "time"
        longest = condition.maximum_token_seconds
        if longest is not None and not 0 < identity.expires - identity.issued_at <= longest:
            return "token lifetime"
        return ""

    def _look_up(self, role: str, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._by_role[role].networks)
