"""Jobs are told apart byte for byte, however an answer comes in pieces; what cannot be told apart is refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.slurm_api.job_list import JobList, ListRefused, ListTooLarge
from tests.examples import tried

KEPT = "mine"


def is_kept(job: bytes) -> bool:
    return bool(json.loads(job).get("user") == KEPT)


def filtered(raw: bytes, size: int = 7, *, most: int = 1 << 20, most_job: int = 1 << 20) -> bytes:
    jobs = JobList(is_kept, most_bytes=most, most_job_bytes=most_job)
    for begin in range(0, len(raw), size):
        jobs.feed(raw[begin : begin + size])
    return jobs.finish()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('"\\{}[],: ajobs\n\u00e9\U0001f600'),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text('jobs"\\]} ', max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)
descriptions = st.builds(
    lambda user, rest: {**rest, "user": user},
    st.sampled_from([KEPT, "other", "mine ", ""]),
    st.dictionaries(st.text('jobs"\\]} user', max_size=6), values, max_size=4),
)
around = st.dictionaries(
    st.text('errors"\\]}', max_size=6).filter(lambda name: name != "jobs"), values, max_size=3
)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """An answer whose jobs stand anywhere among the rest."""
    before, after = draw(around), draw(around)
    return {**before, "jobs": draw(st.lists(descriptions, max_size=6)), **after}


@tried(400)
@given(answers(), st.integers(1, 40), st.sampled_from([None, 1]), st.booleans())
def test_what_stays_is_what_is_kept_and_nothing_else_changes(
    answer: dict[str, Any], size: int, indent: int | None, ascii_only: bool
) -> None:
    raw = json.dumps(answer, indent=indent, ensure_ascii=ascii_only).encode()
    expected = {**answer, "jobs": [job for job in answer["jobs"] if job["user"] == KEPT]}
    assert json.loads(filtered(raw, size)) == expected


def test_what_is_kept_is_kept_byte_for_byte() -> None:
    job = b'{ "user" : "mine", "n": 1.00e2, "t": "\\u0061" }'
    raw = b'{"meta": {"x": 1.50},\n "jobs": [\n  ' + job + b' ,\n {"user":"x"}], "errors":[] }\n'
    expected = b'{"meta": {"x": 1.50},\n "jobs": [' + job + b'], "errors":[] }\n'
    for size in (1, 3, 1000):
        assert filtered(raw, size) == expected


def test_every_list_of_jobs_counts_and_no_deeper_one() -> None:
    """slurmrestd writes one; with two, each is filtered, whatever the spelling of the name."""
    raw = b'{"jobs":[{"user":"x"}],"j\\u006fbs":[{"user":"x"},{"user":"mine"}],"meta":{"jobs":[1]}}'
    assert filtered(raw) == b'{"jobs":[],"j\\u006fbs":[{"user":"mine"}],"meta":{"jobs":[1]}}'


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"  ",
        b"[]",
        b'[{"user":"x"}]',
        b'"jobs"',
        b"nonsense",
        b'x{"jobs":[]}',
        b'{"jobs":[]',
        b'{"jobs":[{"user":"x"}',
        b'{"jobs":[{"user":"x"',
        b'{"jobs":[]}{"jobs":[]}',
        b'{"jobs":[]} Connection: Close',
        b'{"errors":[]} Connection: Close',
        b'{"jobs":[]]',
        b'{"jobs":[}]',
        b'{"jobs":{"1":{"user":"x"}}}',
        b'{"jobs":[[{"user":"x"}]]}',
        b'{"jobs":["a job"]}',
        b'{"jobs":[{"user":"mine"}, 7]}',
        b'{"jobs":[7, {"user":"mine"}]}',
        b'{"jobs":[null]}',
        b'{"jobs":[{"user":"x"}{"user":"mine"}]}',
        b'{"jobs":[,{"user":"x"}]}',
        b'{"jobs":[{"user":"x"},,{"user":"x"}]}',
        b'{"jobs":[{"user":"x"},]}',
        b'{"a":' * 100 + b"1" + b"}" * 100,
    ],
)
@pytest.mark.parametrize("size", [1, 5, 1000])
def test_an_answer_whose_jobs_cannot_be_told_apart_is_refused(raw: bytes, size: int) -> None:
    with pytest.raises(ListRefused):
        filtered(raw, size)


def test_more_than_there_is_room_for_is_refused() -> None:
    job = {"user": KEPT, "comment": "x" * 100}
    raw = json.dumps({"jobs": [job] * 20}).encode()
    with pytest.raises(ListTooLarge):
        filtered(raw, most=1000)
    with pytest.raises(ListTooLarge):
        filtered(raw, most_job=100)


def test_jobs_that_do_not_stay_take_no_room() -> None:
    raw = json.dumps({"jobs": [{"user": "x", "comment": "x" * 100}] * 20}).encode()
    assert filtered(raw, 64, most=100, most_job=300) == b'{"jobs": []}'
