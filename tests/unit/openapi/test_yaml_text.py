"""YAML that says what the JSON says, to readers of YAML 1.1 as well."""

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.openapi.yaml_text import write_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
)


@given(JSON)
@example({"no": ["1e3", "0x10", "~", "", "a: b", "# x", "\x85\u2028\ufeff\x7f\x00"]})
@example([[[]], {}, [{}], {"": [[1]]}])
def test_it_is_read_as_what_was_written(value: object) -> None:
    assert yaml.safe_load(write_yaml(value)) == value


def test_it_is_in_block_style() -> None:
    assert write_yaml({"a": [1, {"b": "c"}]}) == b'"a":\n  - 1\n  -\n    "b": "c"\n'
