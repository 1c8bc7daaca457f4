"""docs/security.md and the tests that it names keep each other."""

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs/security.md").read_text()
FILES = (
    "test_classes_of_hole.py",
    "test_classes_of_hole_21_to_34.py",
    "test_requirements.py",
    "test_requirements_of_http.py",
)
NUMBERED = re.compile(r"test_([a-z]+)_((?:[0-9]+_)+)")
ROWS = re.findall(r"^\| (\w+) ([0-9]+) \| [^|]+ \| [^|]+ \| (.+) \|$", PAGE, re.MULTILINE)
NOT_HERE = {17, 18, 19, 20, 33}
"""About signing people in."""


def existing() -> set[str]:
    sources = "".join((HERE / name).read_text() for name in FILES)
    return set(re.findall(r"^(?:async )?def (test_[a-z]+_[0-9]\w*)", sources, re.MULTILINE))


def numbers_of(test: str) -> set[tuple[str, int]]:
    found = NUMBERED.match(test)
    assert found is not None, test
    return {(found[1], int(number)) for number in found[2].rstrip("_").split("_")}


@pytest.mark.parametrize(("kind", "number", "tests"), ROWS, ids=[f"{k} {n}" for k, n, _ in ROWS])
def test_each_number_has_a_test_that_exists_and_carries_it(
    kind: str, number: str, tests: str
) -> None:
    named = re.findall(r"`(\w+)`", tests)
    assert named
    for test in named:
        assert test in existing()
        assert (kind.lower(), int(number)) in numbers_of(test)


def test_each_numbered_test_stands_on_the_page_with_each_of_its_numbers() -> None:
    rows = {
        (kind.lower(), int(number), test)
        for kind, number, tests in ROWS
        for test in re.findall(r"`(\w+)`", tests)
    }
    assert rows == {(*number, test) for test in existing() for number in numbers_of(test)}


def test_no_class_of_hole_is_missing() -> None:
    stated = [int(number) for kind, number, _ in ROWS if kind == "hole"]
    assert stated == sorted(set(range(1, 35)) - NOT_HERE)
