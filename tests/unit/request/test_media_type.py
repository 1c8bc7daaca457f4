"""Accept and Content-Type, each by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.media_type import JSON, YAML, answer_type, body_type


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (b"", JSON),
        (b"application/json;q=0.2, application/yaml;q=0.3", YAML),
        (b"application/json;q=0.3, application/yaml;q=0.3", JSON),
        (b"*/*;q=0.1, application/json;q=0", YAML),
        (b"application/*;q=0, */*", None),
        (b"text/*", None),
        (b"application/json;q=1.001", None),
        (b"application/json;q=0.1234", None),
        (b"application/json; version=1; q=0.5", JSON),
        (b"application/json/x", None),
        (b"APPLICATION/JSON", JSON),
    ],
)
def test_the_answer_is_of_the_type_that_is_most_welcome(accept: bytes, wanted: str | None) -> None:
    assert answer_type(accept) == wanted


@pytest.mark.parametrize(
    ("content_type", "read"),
    [
        (b"application/json", JSON),
        (b"application/json;", JSON),
        (b'application/json; charset="utf-8"; x=y', JSON),
        (b"text/yaml", YAML),
        (b"application/yaml; charset=utf8", YAML),
        (b"application/json; charset=latin-1", None),
        (b"application/json; charset=utf-8; charset=utf-16", None),
        (b"application/json charset=utf-8", None),
        (b'application/json; x="a', None),
        (b"application/jsonp", None),
        (b"json", None),
        (b"", None),
    ],
)
def test_a_body_is_json_or_yaml_in_utf_8_or_nothing(content_type: bytes, read: str | None) -> None:
    assert body_type(content_type) == read


@given(st.binary(max_size=60))
def test_no_value_is_too_odd(value: bytes) -> None:
    assert answer_type(value) in (JSON, YAML, None)
    assert body_type(value) in (JSON, YAML, None)
