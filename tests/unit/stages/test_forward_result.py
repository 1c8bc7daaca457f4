"""What slurmrestd's answers say, as each release says it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stages.forward_result import (
    is_refusal,
    is_unspecified_error,
    job_ids,
    may_be_refusal,
    slurm_errors,
)


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("answer", "codes"),
    [
        ({"errors": []}, ()),
        ({"job_id": 7, "errors": []}, ()),
        ({"errors": [{"error": "x", "error_number": 2002, "source": "y"}]}, ("2002",)),
        ({"errors": [{"error": "x", "error_code": 2012}]}, ("2012",)),
        ({"errors": [{"error": "x", "errno": 9002}]}, ("9002",)),
        ({"errors": [{"error": "x"}]}, ()),
        ({"errors": [{"error_number": 0}]}, ()),
        ({"errors": [{"error_number": -1}]}, ("-1",)),
        ({"errors": [], "status": [{"error": {"code": 2002, "string": "x"}}]}, ("2002",)),
        ({"errors": [], "status": {"error": {"code": 2017}}}, ("2017",)),
        ({"errors": [], "status": [{"error": {"code": 0}}, {"error": {"code": 2017}}]}, ("2017",)),
        ({"results": [{"job_id": 3, "error_code": 2010, "error": "x"}], "errors": []}, ("2010",)),
        ({"errors": [{"error_number": {"set": True, "number": 7}}]}, ("7",)),
        ({"errors": [{"errno": 5}, {"errno": 5}, {"errno": 6}]}, ("5", "6")),
        ({"errors": "x", "status": 5}, ()),
        ([1, 2], ()),
        ("text", ()),
    ],
)
def test_codes_are_found_wherever_a_release_puts_them(answer: Any, codes: tuple[str, ...]) -> None:
    assert slurm_errors(body(answer)) == codes


@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        ({"job_id": 42, "step_id": "BATCH", "errors": []}, ("42",)),
        ({"result": {"job_id": 42}, "job_id": 42}, ("42",)),
        ({"results": [{"job_id": 1}, {"job_id": 2}]}, ("1", "2")),
        ({"status": [{"job_id": {"set": True, "infinite": False, "number": 9}}]}, ("9",)),
        ({"status": [{"job_id": {"set": False, "number": 9}}]}, ()),
        ({"job_id": 0}, ()),
        ({"job_id": True}, ()),
        ({"job_id": "5; rm"}, ()),
        ({"result": None, "results": None}, ()),
    ],
)
def test_job_ids_are_found_wherever_a_release_puts_them(answer: Any, ids: tuple[str, ...]) -> None:
    assert job_ids(body(answer)) == ids


def test_a_yaml_answer_is_not_a_way_around_the_record() -> None:
    answer = (
        b"job_id: 42\nerrors:\n- error: x\n  error_number: 2002\n  exit_code: 5\n"
        b"status:\n- error:\n    code: 2017\n"
    )
    assert slurm_errors(answer) == ("2002", "2017")
    assert job_ids(answer) == ("42",)


def test_a_bulk_answer_fills_no_more_than_one_record_takes() -> None:
    many = {"status": [{"job_id": n, "error": {"code": n}} for n in range(1, 5000)]}
    assert len(job_ids(body(many))) == len(slurm_errors(body(many))) == 256


@pytest.mark.parametrize(
    ("status", "answer", "certain", "doubtful", "unspecified"),
    [
        (401, "Authentication failure", True, False, False),
        (511, {"errors": [{"error_number": 1007}]}, True, False, False),
        (500, {"errors": []}, False, True, False),  # 20.11
        (500, {"errors": [{"error_number": -1}]}, False, True, True),  # 22.05
        (500, {"errors": [{"error_number": 1800}]}, False, False, False),  # slurmctld is down
        (500, {"errors": [{"error_number": -1}, {"error_number": 2002}]}, False, False, False),
        (500, {"errors": [{"error": "x"}]}, False, False, False),
        (500, {}, False, False, False),
        (500, "text", False, False, False),
        (404, {"errors": []}, False, False, False),
        (403, {"errors": [{"error_number": -1}]}, False, False, False),
        (200, {"errors": []}, False, False, False),
    ],
)
def test_a_refused_credential_is_told_apart(
    status: int, answer: Any, certain: bool, doubtful: bool, unspecified: bool
) -> None:
    raw = answer.encode() if isinstance(answer, str) else body(answer)
    assert is_refusal(status) is certain
    assert may_be_refusal(status, raw) is doubtful
    assert is_unspecified_error(status, raw) is unspecified


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "errors",
                    "status",
                    "error",
                    "code",
                    "job_id",
                    "result",
                    "results",
                    "number",
                    "set",
                    "errno",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values.map(body) | st.binary(max_size=100))
def test_no_answer_makes_the_search_fail(raw: bytes) -> None:
    found = slurm_errors(raw) + job_ids(raw)
    assert all(isinstance(value, str) for value in found)
    may_be_refusal(500, raw)
    is_unspecified_error(500, raw)
