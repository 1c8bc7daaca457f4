"""One text, one object, or a refusal."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.token.strict_json import MAXIMUM_DEPTH, JsonRefused, read_object

REFUSED = [
    (b"", "not JSON in UTF-8"),
    (b"{", "not JSON in UTF-8"),
    (b"{} {}", "not JSON in UTF-8"),
    (b"{'a':1}", "not JSON in UTF-8"),
    (b'{"a":1,}', "not JSON in UTF-8"),
    (b'{"a":01}', "not JSON in UTF-8"),
    (b'{"a":"\n"}', "not JSON in UTF-8"),
    (b'{"a":"\x00"}', "not JSON in UTF-8"),
    (b'{"a":"\xff"}', "not JSON in UTF-8"),
    (b"\xef\xbb\xbf{}", "not JSON in UTF-8"),
    ("{}".encode("utf-16"), "not JSON in UTF-8"),
    ("{}".encode("utf-32-le"), "not JSON in UTF-8"),
    (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON in UTF-8"),
    (b"[]", "not a JSON object"),
    (b'"a"', "not a JSON object"),
    (b"1", "not a JSON object"),
    (b"null", "not a JSON object"),
    (b'{"a":1,"a":1}', "a name stands twice"),
    (b'{"a":1,"\\u0061":2}', "a name stands twice"),
    (b'{"a":[{"b":1,"b":2}]}', "a name stands twice"),
    (b'{"a":NaN}', "NaN or Infinity"),
    (b'{"a":[Infinity]}', "NaN or Infinity"),
    (b'{"a":-1e999}', "a number without end"),
    (b'{"a":"\\u0000"}', "NUL or a lone surrogate"),
    (b'{"a":["\\ud800"]}', "NUL or a lone surrogate"),
    (b'{"a":{"\\udfff":1}}', "NUL or a lone surrogate"),
]


@pytest.mark.parametrize(("raw", "why"), REFUSED, ids=lambda value: repr(value)[:40])
def test_a_text_with_another_reading_is_refused(raw: bytes, why: str) -> None:
    with pytest.raises(JsonRefused, match=why):
        read_object(raw)


@pytest.mark.parametrize("brackets", ["[]", "{}"])
def test_the_depth_has_an_end(brackets: str) -> None:
    opening, closing = ("[", "]") if brackets == "[]" else ('{"a":', "}")

    def nested(levels: int) -> bytes:
        return f'{{"a":{opening * (levels - 1)}1{closing * (levels - 1)}}}'.encode()

    assert read_object(nested(MAXIMUM_DEPTH))
    with pytest.raises(JsonRefused, match="nested too deep"):
        read_object(nested(MAXIMUM_DEPTH + 1))


def test_characters_beyond_the_basic_plane_may_be_escaped() -> None:
    assert read_object(b'{"a":"\\ud83d\\ude00\\n"}') == {"a": "\N{GRINNING FACE}\n"}


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs", "Cc"])), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text("ab"), VALUES, max_size=4), st.booleans())
def test_what_has_one_reading_is_read_so(value: dict[str, Any], ascii_only: bool) -> None:
    assert read_object(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary())
def test_any_bytes_are_an_object_or_refused(raw: bytes) -> None:
    try:
        value = read_object(raw)
    except JsonRefused:
        return
    assert isinstance(value, dict)
