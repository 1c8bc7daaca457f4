"""A marker goes behind the user's text, in every shape of a submission, and changes nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.stages.idempotency_body import MAXIMUM_FIELD_BYTES, Submission, Unmarkable

MARKER = "idempotency:abc"
ROOM = MAXIMUM_FIELD_BYTES - len(MARKER) - 1


def marked(document: Any, field: str = "comment") -> Any:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return json.loads(Submission(raw, field, len(MARKER)).marked(MARKER))


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({}, {"comment": MARKER}),
        ({"comment": None}, {"comment": MARKER}),
        ({"comment": ""}, {"comment": MARKER}),
        ({"comment": "mine"}, {"comment": f"mine {MARKER}"}),
        ({"COMMENT": "mine"}, {"COMMENT": f"mine {MARKER}"}),
        ({"comment": "x" * ROOM}, {"comment": "x" * ROOM + f" {MARKER}"}),
        ({"comment": "é\u2028"}, {"comment": f"é\u2028 {MARKER}"}),
    ],
)
def test_the_users_text_stays_in_front(job: dict[str, Any], expected: dict[str, Any]) -> None:
    for script in ({}, {"script": "#!/bin/sh\n"}):
        assert marked({**script, "job": job}) == {**script, "job": expected}


def test_every_component_of_a_heterogeneous_job_is_marked() -> None:
    jobs = [{"name": "a"}, {"comment": "b"}]
    found = marked({"script": "s", "jobs": jobs})["jobs"]
    assert [job["comment"] for job in found] == [MARKER, f"b {MARKER}"]


def test_job_and_jobs_together_are_both_marked_and_a_null_is_nothing() -> None:
    both = marked({"job": {}, "jobs": [{}]})
    assert both == {"job": {"comment": MARKER}, "jobs": [{"comment": MARKER}]}
    assert marked({"job": None, "jobs": [{}]})["jobs"] == [{"comment": MARKER}]


def test_another_field_can_take_the_marker() -> None:
    assert marked({"job": {"comment": "c"}}, "extra") == {"job": {"comment": "c", "extra": MARKER}}


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "not JSON"),
        (b'{"job":{},"job":{}}', "not JSON"),
        (b'{"job":{"comment":"a","comment":"b"}}', "not JSON"),
        (b'{"job":{"a":NaN}}', "not JSON"),
        (b'{"job":{"time_limit":1e400}}', "not JSON"),
        (b"job: {}", "not JSON"),
        ({}, "no job"),
        ({"script": "s"}, "no job"),
        ({"jobs": []}, "no job"),
        ({"job": []}, "not an object"),
        ({"job": "x"}, "not an object"),
        ({"jobs": {}}, "not a list"),
        ({"jobs": [{}, 7]}, "not an object"),
        ({"jobs": [{}, None]}, "not an object"),
        ({"Job": {}}, "small letters"),
        ({"job": {}, "JOBS": []}, "small letters"),
        ({"SCRIPT": "s", "job": {}}, "small letters"),
        ({"job": {"comment": 7}}, "not a string"),
        ({"job": {"comment": ["a"]}}, "not a string"),
        ({"job": {"comment": {"set": True}}}, "not a string"),
        ({"job": {"comment": False}}, "not a string"),
        ({"job": {"comment": "a", "Comment": "b"}}, "twice"),
        ({"job": {"comment": "x" * (ROOM + 1)}}, "at most"),
        ({"job": {"comment": "é" * (ROOM // 2 + 1)}}, "at most"),
        ({"jobs": [{}, {"comment": "x" * 1024}]}, "at most"),
    ],
)
def test_what_cannot_be_marked_says_why(document: Any, why: str) -> None:
    with pytest.raises(Unmarkable, match=why):
        marked(document)


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ({"job": {"name": "a"}}, {"a"}),
        ({"jobs": [{"name": "a"}, {"NAME": "b"}]}, {"a", "b"}),
        ({"jobs": [{"name": "a"}, {}]}, set()),
        ({"job": {}}, set()),
        ({"job": {"name": ""}}, set()),
        ({"job": {"name": 7}}, set()),
    ],
)
def test_the_names_are_known_if_all_are(document: Any, names: set[str]) -> None:
    raw = json.dumps(document).encode()
    assert Submission(raw, "comment", 10).job_names == names


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text("abcXYZ_", max_size=5), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(st.dictionaries(st.text("abcXYZ_", max_size=5), _JSON), st.integers(-(10**40), 10**40))
def test_nothing_else_of_a_body_changes(job: dict[str, Any], number: int) -> None:
    document = {"script": "s", "job": {**job, "number": number}}
    found = marked(document)
    assert found["job"].pop("comment") == MARKER
    assert found == document


@given(st.binary(max_size=200))
def test_any_bytes_are_marked_or_refused(raw: bytes) -> None:
    try:
        marked(raw)
    except Unmarkable:
        return
