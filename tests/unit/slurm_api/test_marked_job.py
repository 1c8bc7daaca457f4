"""A lost job is found in what slurmrestd lists, in every version's way of writing numbers."""

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.slurm_api.marked_job import (
    ListUnreadable,
    Sighting,
    Sought,
    find_job,
    submit_answer,
)

BEGUN = 1_800_000_000.5
SOUGHT = Sought("idempotency:abc", "comment", "alice", 1001, frozenset({"mine"}), BEGUN)


def job(**changes: Any) -> dict[str, Any]:
    plain = {
        "job_id": 7,
        "user_name": "alice",
        "user_id": 1001,
        "name": "mine",
        "comment": "",
        "submit_time": int(BEGUN),
    }
    return plain | changes


def look(*jobs: Any, sought: Sought = SOUGHT) -> Sighting:
    return find_job(json.dumps({"jobs": list(jobs), "errors": []}).encode(), sought)


def object_of(number: int, *, is_set: bool = True) -> dict[str, Any]:
    return {"set": is_set, "infinite": False, "number": number}


@pytest.mark.parametrize(
    "comment", ["idempotency:abc", "mine idempotency:abc", "idempotency:abc x"]
)
def test_the_job_with_the_marker_is_found_wherever_it_stands(comment: str) -> None:
    assert look(job(job_id=1), job(comment=comment), job(job_id=9)) == Sighting(7)


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"job_id": 7}, 7),
        ({"job_id": object_of(7)}, 7),
        ({"job_id": 9, "array_job_id": object_of(7), "het_job_id": object_of(0)}, 7),
        ({"job_id": 9, "array_job_id": 7}, 7),
        ({"job_id": 9, "het_job_id": object_of(7), "array_job_id": object_of(0)}, 7),
        ({"job_id": 7, "array_job_id": object_of(3, is_set=False), "het_job_id": 0}, 7),
        ({"job_id": 7, "array_job_id": None, "het_job_id": None}, 7),
    ],
)
def test_the_id_is_the_one_that_the_submission_was_answered(
    numbers: dict[str, Any], expected: int
) -> None:
    assert look(job(comment="idempotency:abc", **numbers)).job_id == expected


def test_the_bare_list_of_v0_0_35_is_read_too() -> None:
    raw = json.dumps([job(comment="idempotency:abc")]).encode()
    assert find_job(raw, SOUGHT) == Sighting(7)
    assert find_job(b"[]", SOUGHT) == Sighting(0)


def test_of_several_components_the_first_is_told() -> None:
    both = [job(job_id=8, comment="idempotency:abc"), job(job_id=7, comment="idempotency:abc")]
    assert look(*both) == Sighting(7)


def test_a_copied_marker_on_another_users_job_is_not_it() -> None:
    assert look(job(user_name="bob", comment="idempotency:abc")) == Sighting(0)
    nameless = job(user_name="", user_id=1002, comment="idempotency:abc")
    assert look(nameless) == Sighting(0)


def test_where_only_numbers_are_given_they_decide() -> None:
    assert look(job(user_name="", comment="idempotency:abc")) == Sighting(7)
    unknown = replace(SOUGHT, uid=None)
    assert look(job(user_name="", comment="idempotency:abc"), sought=unknown) == Sighting(7)


@pytest.mark.parametrize(
    ("changes", "is_lookalike"),
    [
        ({}, True),
        ({"comment": None}, True),
        ({"comment": "by a plugin"}, True),
        ({"submit_time": object_of(int(BEGUN) + 5)}, True),
        ({"submit_time": int(BEGUN) - 4}, True),
        ({"submit_time": int(BEGUN) - 7}, False),
        ({"name": "other"}, False),
        ({"user_name": "bob"}, False),
        ({"comment": "idempotency:another"}, False),
    ],
)
def test_a_job_that_may_have_lost_its_marker_is_told(
    changes: dict[str, Any], is_lookalike: bool
) -> None:
    assert look(job(**changes)) == Sighting(0, (7,) if is_lookalike else ())


def test_without_a_name_every_unmarked_job_since_may_be_it() -> None:
    anonymous = replace(SOUGHT, names=frozenset())
    assert look(job(name="any"), sought=anonymous) == Sighting(0, (7,))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"7",
        b"null",
        b'"jobs"',
        b'{"jobs":[]',
        b'{"errors":[]}',
        b'{"jobs":null,"errors":[]}',
        b'{"jobs":{},"errors":[]}',
        b'{"jobs":[7],"errors":[]}',
        b'{"jobs":[{}{}],"errors":[]}',
        b"[{},]",
        b'{"jobs":[],"errors":[{"error_number":1800}]}',
    ],
)
def test_what_is_no_whole_list_proves_nothing(raw: bytes) -> None:
    with pytest.raises(ListUnreadable):
        find_job(raw, SOUGHT)


@given(st.binary(max_size=300) | st.from_regex(rb'\{"jobs":\[\{.{0,80}\}\]\}', fullmatch=True))
def test_any_bytes_are_a_list_or_refused(raw: bytes) -> None:
    try:
        assert find_job(raw, SOUGHT).job_id >= 0
    except ListUnreadable:
        return


def test_a_long_list_is_read_one_job_after_the_other() -> None:
    """Parsed as a whole it takes several times its bytes, of which some stay with the process."""
    others = [job(job_id=number, user_name="bob") for number in range(20_000)]
    raw = json.dumps({"jobs": [*others, job(comment="idempotency:abc")], "errors": []}).encode()
    tracemalloc.start()
    try:
        assert find_job(raw, SOUGHT) == Sighting(7)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(raw) / 10


@pytest.mark.parametrize("version", [f"v0.0.{number}" for number in range(35, 46)])
def test_the_answer_that_is_made_up_has_the_versions_members(version: str) -> None:
    answer = json.loads(submit_answer(version, 7))
    assert answer["job_id"] == 7
    assert answer["errors"] == []
    number = int(version[5:])
    assert ("warnings" in answer) == (number >= 39)
    assert ("result" in answer) == (number in (39, 40, 41))
