"""What is read of slurmrestd's document, and that a document which cannot be read is refused as a whole."""

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.openapi.source import (
    MAXIMUM_DEPTH,
    MAXIMUM_DOCUMENT_BYTES,
    DocumentRefused,
    Source,
    read_source,
)
from tests.examples import tried
from tests.unit.openapi.documents import document, operation, raw

CASES = tomllib.loads((Path(__file__).parent / "refused.toml").read_text("utf-8"))["case"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


def operation_of(source: Source, method: str, path: str) -> dict[str, Any]:
    (found,) = [one for one in source.operations if (one.method, one.path) == (method, path)]
    return dict(found.body)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_is_no_document_is_refused_with_what_is_wrong(case: dict[str, str]) -> None:
    if "text" in case:
        text = case["text"].encode()
    else:
        text = orjson.dumps({**document(), case["member"]: orjson.loads(case["value"])})
    with pytest.raises(DocumentRefused, match=case["says"]):
        read_source(text, ())


def test_a_document_beyond_its_bounds_is_refused_before_it_is_read() -> None:
    with pytest.raises(DocumentRefused, match="bytes"):
        read_source(b" " * (MAXIMUM_DOCUMENT_BYTES + 1), ())
    deep = "[" * (MAXIMUM_DEPTH + 1) + "]" * (MAXIMUM_DEPTH + 1)
    with pytest.raises(DocumentRefused, match="deep"):
        read_source(f'{{"openapi": {deep}}}'.encode(), ())
    with pytest.raises(DocumentRefused):
        read_source(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, ())


@tried(300)
@given(JSON, st.sampled_from(["openapi", "info", "tags", "paths", "components", "whole"]))
def test_any_json_is_a_document_or_is_refused(value: object, member: str) -> None:
    text = orjson.dumps(value if member == "whole" else {**document(), member: value})
    with suppress(DocumentRefused):
        assert read_source(text, ()).operations


@tried(300)
@given(st.data())
def test_any_value_anywhere_in_a_document_is_read_or_refused(data: st.DataObject) -> None:
    """One member, wherever it is, in the place of which anything may stand."""
    whole: Any = document()
    place = whole
    while True:
        names = sorted(place) if isinstance(place, dict) else range(len(place))
        name = data.draw(st.sampled_from(names))
        inner = place[name]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            place[name] = data.draw(JSON)
            break
        place = inner
    with suppress(DocumentRefused):
        read_source(orjson.dumps(whole), ())


def test_nothing_is_taken_over_but_what_is_known() -> None:
    source = read_source(raw(), ())
    assert (source.grammar, source.release) == ("3.0.3", "Slurm-24.11.5")
    assert source.tags == {"slurm": "slurmctld", "slurmdb": ""}
    taken = operation_of(source, "GET", "/slurm/v0.0.42/jobs")
    assert set(taken) == {"summary", "tags", "parameters", "responses", "operationId"}
    assert set(taken["parameters"][0]) == {"name", "in", "required", "schema"}
    assert set(taken["responses"]["200"]["content"]) == {"application/json"}


def test_a_member_of_a_path_that_is_no_method_is_no_operation() -> None:
    """22.05.8 has a schema there; "servers" stands there too."""
    path = {"get": operation(), "dbv0.0.38_tres_update": {"type": "object"}, "servers": []}
    source = read_source(raw(paths={"/slurm/v0.0.42/jobs": path}), ())
    assert [one.method for one in source.operations] == ["GET"]


def test_schemas_are_followed_through_others() -> None:
    source = read_source(raw(), ())
    by_path = {(one.method, one.path): one.schemas for one in source.operations}
    answers = {"v0.0.42_answer", "v0.0.42_errors"}
    assert by_path["GET", "/slurm/v0.0.42/jobs"] == answers
    assert by_path["POST", "/slurm/v0.0.42/job/submit"] == {*answers, "v0.0.42_job"}


def test_schemas_that_refer_to_each_other_are_followed_once() -> None:
    schemas = {
        "v0.0.42_answer": {"items": {"$ref": "#/components/schemas/v0.0.42_other"}},
        "v0.0.42_other": {"items": {"$ref": "#/components/schemas/v0.0.42_answer"}},
        "v0.0.42_job": {},
    }
    source = read_source(raw(components={"schemas": schemas}), ())
    assert source.operations[0].schemas == {"v0.0.42_answer", "v0.0.42_other"}


def test_every_schema_stands_once_behind_those_that_it_needs() -> None:
    schemas = {
        "a": {"items": {"$ref": "#/components/schemas/c"}},
        "b": {"items": {"$ref": "#/components/schemas/a"}},
        "c": {"properties": {"x": {"$ref": "#/components/schemas/d"}}},
        "d": {},
        "e": {"items": {"$ref": "#/components/schemas/f"}},
        "f": {"items": {"$ref": "#/components/schemas/e"}},
    }
    source = read_source(raw(components={"schemas": schemas}), ())
    assert list(source.schemas) == ["d", "c", "a", "b", "f", "e"]


@pytest.mark.parametrize(
    "reference",
    ["#/components/schemas/none", "https://example.org/x", "#/paths", "other.json#/x", 7, None],
)
def test_a_reference_to_nothing_here_means_anything(reference: object) -> None:
    """Nobody who reads the document is sent elsewhere."""
    schemas = {"v0.0.42_answer": {"properties": {"x": {"$ref": reference}}}, "v0.0.42_job": {}}
    source = read_source(raw(components={"schemas": schemas}), ())
    assert source.schemas["v0.0.42_answer"] in (
        {"properties": {"x": {}}},
        schemas["v0.0.42_answer"],
    )
    assert reference is None or source.schemas["v0.0.42_answer"] == {"properties": {"x": {}}}
