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
    "test_requirements_of_identity.py",
    "test_requirements_of_audit.py",
    "test_requirements_of_http.py",
    "test_requirements_of_limits.py",
    "test_requirements_of_sign_in.py",
)
NUMBERED = re.compile(r"test_([a-z]+)_((?:[0-9]+_)+)")
ROWS = re.findall(r"^\| (\w+) ([0-9]+) \| [^|]+ \| [^|]+ \| (.+) \|$", PAGE, re.MULTILINE)
NOT_YET = re.compile(r"not yet: (?:sign-in|step-up|several processes)(?:, |$)")
"""What a part of the gateway that does not exist would have to do."""
REQUIREMENTS = {
    "BEAR": 12, "JWT": 18, "AT": 6, "DISC": 12, "PRM": 3, "STEP": 5, "PROB": 6, "HTTP": 17, "RL": 12, "AUD": 10,
    "OWA": 10, "SLM": 3,
}  # fmt: skip
"""How many there are of each kind. HTTP 13, caching, is about a cache that the gateway has not."""


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
    named = re.findall(r"`(test_\w+)`", tests)
    assert named or NOT_YET.match(tests)
    assert "not yet" not in tests or NOT_YET.search(tests)
    for test in named:
        assert test in existing()
        assert (kind.lower(), int(number)) in numbers_of(test)


def test_each_numbered_test_stands_on_the_page_with_each_of_its_numbers() -> None:
    rows = {
        (kind.lower(), int(number), test)
        for kind, number, tests in ROWS
        for test in re.findall(r"`(test_\w+)`", tests)
    }
    assert rows == {(*number, test) for test in existing() for number in numbers_of(test)}


def numbers_stated(kind: str) -> list[int]:
    return [int(number) for stated, number, _ in ROWS if stated == kind]


def test_no_class_of_hole_is_missing() -> None:
    assert numbers_stated("hole") == list(range(1, 35))


@pytest.mark.parametrize(("kind", "count"), REQUIREMENTS.items())
def test_no_requirement_is_missing(kind: str, count: int) -> None:
    left_out = {13} if kind == "HTTP" else set()
    assert numbers_stated(kind) == [n for n in range(1, count + 1) if n not in left_out]
