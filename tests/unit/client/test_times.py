"""How long a job ran is what squeue prints."""

from typing import Any

import pytest

from gateway.client.job import Job, read_job
from gateway.client.runs.jobs import CELLS

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
