"""How a correction finds its place, and that a table without reasons is refused."""

from typing import Any

import pytest

from gateway.openapi.corrections import correct, parse_corrections, read_corrections

ROW = """
[[correction]]
versions = "41-42"
measured = ["24.11"]
reason = "A reason."
below = "components schemas"
places = ["{version}_job properties *", "nothing here"]
set = { type = "integer", items = { "$ref" = "#/{version}" } }
drop = ["format"]
"""


def corrected(row: str = ROW) -> dict[str, Any]:
    document = {
        "components": {
            "schemas": {
                "v0.0.41_job": {"properties": {"a": {"format": "x", "title": "t"}, "b": 7}},
                "v0.0.42_job": {"properties": {"c": {"$ref": "#/x"}}},
                "v0.0.43_job": {"properties": {"a": {}}},
            }
        }
    }
    correct(document, parse_corrections(row))
    found: dict[str, Any] = document["components"]["schemas"]
    return found


def test_it_reaches_the_versions_that_it_names_and_no_reference() -> None:
    found = corrected()
    mended = {"title": "t", "type": "integer", "items": {"$ref": "#/v0.0.41"}}
    assert found["v0.0.41_job"]["properties"] == {"a": mended, "b": 7}
    assert found["v0.0.42_job"]["properties"] == {"c": {"$ref": "#/x"}}
    assert found["v0.0.43_job"]["properties"] == {"a": {}}


def test_a_name_reaches_a_reference() -> None:
    found = corrected(ROW.replace("properties *", "properties c"))
    assert found["v0.0.42_job"]["properties"]["c"]["type"] == "integer"


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ('reason = "A reason."', ""),
        ('reason = "A reason."', 'reason = " "'),
        ('measured = ["24.11"]', "measured = []"),
        ('versions = "41-42"', 'versions = "new"'),
        ('versions = "41-42"', 'versions = "42-41"'),
        ("places = ", "plaecs = "),
        ('set = { type = "integer", items = { "$ref" = "#/{version}" } }\ndrop = ["format"]', ""),
    ],
)
def test_a_row_that_does_not_say_what_and_why_is_refused(line: str, instead: str) -> None:
    assert line in ROW
    with pytest.raises((ValueError, KeyError)):
        parse_corrections(ROW.replace(line, instead))


def test_the_packaged_table_is_read() -> None:
    assert len(read_corrections()) > 50
