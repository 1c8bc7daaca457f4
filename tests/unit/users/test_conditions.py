"""When a role is held: from where, at what time, and with what token."""

from datetime import UTC, datetime
from ipaddress import ip_network
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.users.conditions import Condition, Conditions, Hours, read_hours
from tests.fakes import FakeClock, make_identity, make_request

ROLES = ("user", "operator")
BERLIN = ZoneInfo("Europe/Berlin")


def held(
    condition: Condition, *, address: str = "192.0.2.7", now: float = 0.0, seconds: float = 3600.0
) -> tuple[str, ...]:
    """What is held of user (always) and operator (on the condition)."""
    conditions = Conditions({"operator": condition}, FakeClock(now))
    identity = make_identity(issued_at=1000.0, expires=1000.0 + seconds)
    return conditions(make_request(client_address=address), identity, ROLES).roles


@pytest.mark.parametrize(
    ("address", "is_held"),
    [
        ("10.1.2.3", True),
        ("192.0.2.7", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("unix", False),
        ("", False),
        ("10.1.2.3.4", False),
    ],
)
def test_a_role_is_held_from_its_networks_only(address: str, is_held: bool) -> None:
    networks = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    assert (held(Condition(networks), address=address) == ROLES) is is_held


@pytest.mark.parametrize(
    ("seconds", "is_held"), [(900.0, True), (900.5, False), (0.0, False), (-1.0, False)]
)
def test_a_role_is_held_with_short_tokens_only(seconds: float, is_held: bool) -> None:
    assert (held(Condition(maximum_token_seconds=900.0), seconds=seconds) == ROLES) is is_held


@pytest.mark.parametrize(
    ("times", "local", "is_held"),
    [
        ("Mon-Fri 08:00-18:00", "2026-11-20 08:00", True),  # a Friday
        ("Mon-Fri 08:00-18:00", "2026-11-20 17:59", True),
        ("Mon-Fri 08:00-18:00", "2026-11-20 18:00", False),
        ("Mon-Fri 08:00-18:00", "2026-11-20 07:59", False),
        ("Mon-Fri 08:00-18:00", "2026-11-21 12:00", False),
        ("Sat,Sun", "2026-11-21 00:00", True),
        ("Sat,Sun", "2026-11-22 23:59", True),
        ("Sat,Sun", "2026-11-23 00:00", False),
        ("Fri-Mon", "2026-11-22 12:00", True),
        ("Fri-Mon", "2026-11-24 12:00", False),
        ("22:00-06:00", "2026-11-20 23:00", True),
        ("22:00-06:00", "2026-11-20 05:59", True),
        ("22:00-06:00", "2026-11-20 06:00", False),
        ("Fri 22:00-06:00", "2026-11-21 05:00", True),
        ("Fri 22:00-06:00", "2026-11-20 05:00", False),
        ("sun 20:00-24:00", "2026-11-22 23:59", True),
        ("sun 20:00-24:00", "2026-11-23 00:00", False),
    ],
)
def test_a_role_is_held_at_its_times_in_its_zone(times: str, local: str, is_held: bool) -> None:
    now = datetime.fromisoformat(local).replace(tzinfo=BERLIN).timestamp()
    condition = Condition(hours=(read_hours(times),), zone=BERLIN)
    assert (held(condition, now=now) == ROLES) is is_held


def test_the_hours_of_a_zone_follow_its_summer_time() -> None:
    condition = Condition(hours=(read_hours("08:00-09:00"),), zone=BERLIN)
    winter = datetime(2026, 1, 15, 7, 30, tzinfo=UTC).timestamp()
    summer = datetime(2026, 7, 15, 6, 30, tzinfo=UTC).timestamp()
    assert held(condition, now=winter) == held(condition, now=summer) == ROLES
    assert held(condition, now=winter - 3600) == held(condition, now=summer + 3600) == ("user",)


def test_one_of_several_times_is_enough_and_every_kind_of_condition_is_needed() -> None:
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()
    times = (read_hours("Sat"), read_hours("Fri 11:00-13:00"))
    both = Condition((ip_network("10.0.0.0/8"),), times, UTC)
    assert held(both, address="10.0.0.1", now=noon) == ROLES
    assert held(both, address="192.0.2.7", now=noon) == ("user",)
    assert held(both, address="10.0.0.1", now=noon + 7200) == ("user",)


def test_what_is_not_held_is_told_with_its_reason() -> None:
    conditions = Conditions(
        {
            "operator": Condition((ip_network("10.0.0.0/8"),)),
            "night": Condition(hours=(read_hours("Mon 00:00-00:01"),), zone=UTC),
            "short": Condition(maximum_token_seconds=1.0),
        },
        FakeClock(),
    )
    told = conditions(make_request(), make_identity(), ("user", "operator", "night", "short"))
    assert told.roles == ("user",)
    assert told.missed == ("operator (source network)", "night (time)", "short (token lifetime)")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Mon Tue",
        "Mon-",
        "-Fri",
        "Mon,,Tue",
        "Montag",
        "8:00-18:00",
        "08:00-25:00",
        "08:00-08:00",
        "08:00",
        "24:00-01:00",
        "Mon 08:00-18:00 ",
        "Mon  08:00-18:00",
        "Mon-Fri-Sat",
        "Mon08:00-18:00",
    ],
)
def test_a_time_with_two_readings_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be such as|days are|ends when"):
        read_hours(text)


@given(st.integers(0, 1439), st.integers(0, 1440), st.integers(0, 10079))
def test_every_minute_of_a_week_is_within_the_hours_or_within_the_others(
    begin: int, end: int, minute: int
) -> None:
    """Hours on every day and their complement share no minute and leave none out."""
    if begin == end or (begin == 0 and end == 1440):
        return
    every_day = frozenset(range(7))
    moment = datetime.fromtimestamp(345_600 + minute * 60, UTC)  # from a Monday on
    within = Hours(every_day, begin, end).include(moment)
    others = Hours(every_day, end % 1440, begin).include(moment)
    if end % 1440 != begin:
        assert within is not others
