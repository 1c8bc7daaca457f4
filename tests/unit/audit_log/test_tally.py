"""What `report` counts."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from gateway.audit_log.tally import Tally
from tests.audit_writer import START, request

CLASSES = {"GET /slurm/*/jobs": "READ", "POST /slurm/*/job/submit": "SUBMIT"}


def class_of(row: Mapping[str, Any]) -> str:
    return CLASSES.get(row["operation"], "")


def row(minute: float, **changes: object) -> dict[str, object]:
    time = (START + timedelta(minutes=minute)).isoformat()
    return {**request(), "time": time, "event": "end", **changes}


@pytest.fixture
def tally() -> Tally:
    made = Tally(class_of)
    made.add_all(
        [
            row(0),
            row(1, user="bob", operation="POST /slurm/*/job/submit", bytes_in=50),
            row(2, target="/slurmdb/v0.0.38/jobs?x=1", client_id="old", operation="GET /other"),
            row(3, verdict="denied", code="token-invalid", user="", operation="", target="/x"),
            row(90, event="begin"),
            {"event": "start", "time": START.isoformat()},
        ]
    )
    return made


def test_requests_are_counted_by_user_class_and_verdict(tally: Tally) -> None:
    assert tally.by_class == {
        ("alice", "READ", "granted"): 2,
        ("bob", "SUBMIT", "granted"): 1,
        ("alice", "-", "granted"): 1,
        ("-", "-", "denied"): 1,
    }
    assert (tally.requests, tally.unfinished) == (5, 1)
    assert tally.events == {"start": 1}


def test_refusals_are_counted_by_code_and_versions_by_client(tally: Tally) -> None:
    assert tally.by_code == {"token-invalid": 1}
    counted = {key: talker.requests for key, talker in tally.versions.items()}
    assert counted == {("v0.0.42", "portal"): 3, ("v0.0.38", "old"): 1}
    assert tally.users["bob"].bytes_in == 50
    assert tally.users["-"].denied == 1


@pytest.mark.parametrize(("columns", "width", "count"), [(100, 1, 91), (60, 2, 46), (3, 60, 2)])
def test_the_histogram_has_at_most_so_many_columns_and_loses_nothing(
    tally: Tally, columns: int, width: int, count: int
) -> None:
    minutes, found = tally.histogram(columns)
    assert (minutes, len(found)) == (width, count)
    assert sum(granted for granted, _ in found) == 4
    assert sum(denied for _, denied in found) == 1


def test_nothing_counted_has_no_histogram() -> None:
    assert Tally(class_of).histogram(60) == (1, [])


def test_a_year_fits_into_sixty_columns() -> None:
    tally = Tally(class_of)
    tally.add_all([row(0), row(365 * 1440)])
    minutes, found = tally.histogram(60)
    assert minutes % 1440 == 0
    assert len(found) <= 61
