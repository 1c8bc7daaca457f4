"""How long a job ran is what squeue prints, and a time that is typed is what sbatch and sacct take it for."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.client.job import Job, read_job
from gateway.client.runs.jobs import CELLS
from gateway.client.trouble import Trouble
from gateway.client.when import since, until

NOW = 1_800_000_000.0
HOUR = 3600
TO_COME = int(NOW) + 2 * HOUR
"""The end that the time limit allows."""


def job(**members: Any) -> Job:
    return read_job({"job_id": 1, "job_state": "RUNNING", **members})


def ago(seconds: int) -> int:
    return int(NOW) - seconds


@pytest.mark.parametrize(
    ("members", "seconds"),
    [
        ({"job_state": "RUNNING", "start_time": ago(70), "end_time": TO_COME}, 70),
        (
            {
                "job_state": "SUSPENDED",
                "start_time": ago(4200),
                "suspend_time": ago(600),
                "pre_sus_time": HOUR,
                "end_time": TO_COME,
            },
            HOUR,
        ),
        (
            {
                "job_state": "RUNNING",
                "start_time": ago(4300),
                "suspend_time": ago(100),
                "pre_sus_time": HOUR,
                "end_time": TO_COME,
            },
            3700,
        ),
        (
            {
                "job_state": "CANCELLED",
                "start_time": ago(4300),
                "suspend_time": ago(100),
                "pre_sus_time": HOUR,
                "end_time": ago(100),
            },
            HOUR,
        ),
        (
            {
                "job_state": ["CANCELLED", "COMPLETING"],
                "start_time": ago(2 * HOUR),
                "end_time": ago(HOUR),
            },
            HOUR,
        ),
        ({"job_state": "COMPLETING", "start_time": ago(2 * HOUR), "end_time": ago(HOUR)}, HOUR),
        ({"job_state": "CONFIGURING", "start_time": ago(10), "end_time": TO_COME}, 10),
        ({"job_state": ["RUNNING", "CONFIGURING"], "start_time": ago(10)}, 10),
        ({"job_state": "RUNNING", "start_time": ago(70), "end_time": ago(10)}, 70),
        ({"job_state": "COMPLETED", "start_time": ago(70)}, 70),
        ({"job_state": "PENDING", "start_time": ago(70)}, 0),
        ({"job_state": "RUNNING", "start_time": ago(-5), "end_time": TO_COME}, 0),
    ],
    ids=[
        "running",
        "suspended",
        "resumed",
        "cancelled while suspended",
        "ending since an hour",
        "the same in one word",
        "its nodes start",
        "the same with its base state",
        "longer than its limit",
        "without an end",
        "pending",
        "clocks apart",
    ],
)
def test_a_time_is_squeues(members: dict[str, Any], seconds: int) -> None:
    assert job(**members).elapsed_seconds(NOW) == seconds


@pytest.mark.parametrize(
    ("members", "shown"),
    [
        ({"time_limit": None}, "UNLIMITED"),
        ({"time_limit": {"set": False, "infinite": True, "number": 0}}, "UNLIMITED"),
        ({"time_limit": 60}, "1:00:00"),
        ({"time_limit": {"set": False, "infinite": False, "number": 0}}, "NOT_SET"),
        ({}, "NOT_SET"),
    ],
)
def test_no_limit_is_said_in_every_version(members: dict[str, Any], shown: str) -> None:
    assert CELLS["TIME_LIMIT"](job(**members), NOW) == shown


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    """Seconds since 1970, of this machine's calendar."""
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


@pytest.mark.parametrize(
    ("now", "typed", "meant"),
    [
        ("2026-11-22 10:56", "1231", "2026-12-31 00:00"),
        ("2026-11-22 10:56", "1115", "2027-11-15 00:00"),
        ("2026-11-22 10:56", "1122", "2027-11-22 00:00"),
        ("2026-11-22 10:56", "12/31", "2026-12-31 00:00"),
        ("2026-11-22 10:56", "1/5", "2027-01-05 00:00"),
        ("2026-11-22 10:56", "0229", "2028-02-29 00:00"),
        ("2026-11-22 10:56", "123127", "2027-12-31 00:00"),
        ("2026-11-22 10:56", "12/31/27", "2027-12-31 00:00"),
        ("2027-03-28 00:30", "16:00", "2027-03-28 16:00"),
        ("2027-03-28 00:30", "noon", "2027-03-28 12:00"),
        ("2027-03-28 00:30", "tomorrow", "2027-03-29 00:00"),
        ("2027-03-27 17:00", "16:00", "2027-03-28 16:00"),
        ("2027-10-31 00:30", "16:00", "2027-10-31 16:00"),
        ("2027-10-30 17:00", "16:00", "2027-10-31 16:00"),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_a_time_ahead_is_sbatchs(now: str, typed: str, meant: str) -> None:
    """The days are what sbatch of 22.05 and 26.05 made of them; in Berlin clocks change on 28 March and 31 October."""
    assert until(typed, at(now)) == at(meant)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("1231", "2025-12-31 00:00"), ("1122", "2026-11-22 00:00"), ("2/29", "2024-02-29 00:00")],
)
@pytest.mark.usefixtures("berlin")
def test_a_day_without_a_year_is_the_latest_for_sacct(typed: str, meant: str) -> None:
    assert since(typed, at("2026-11-22 10:56")) == at(meant)


@pytest.mark.parametrize("typed", ["123", "12312", "1315", "0230", "13/1", "0001-01-01", "١١١٥"])
def test_what_could_be_two_days_is_none(typed: str) -> None:
    with pytest.raises(Trouble, match="is no time"):
        until(typed, NOW)
