"""Any tests, any number of workers: none is lost, and who needs a release alone begins with it."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.order import Needs, Place, in_parts

RELEASES = ("", "bookworm", "trixie", "sid")
TESTS = st.lists(
    st.builds(Place, st.sampled_from(Needs), st.sampled_from(RELEASES)), max_size=200
).map(lambda places: list(enumerate(places)))


def cut(tests: list[tuple[int, Place]], workers: int) -> list[list[tuple[int, Place]]]:
    """As pytest-xdist gives them out: the rest by the workers that are left."""
    parts, rest = [], list(tests)
    for left in range(workers, 0, -1):
        length = len(rest) // left
        parts.append(rest[:length])
        rest = rest[length:]
    return parts


@given(TESTS, st.integers(1, 5))
def test_no_test_is_lost_or_doubled(tests: list[tuple[int, Place]], workers: int) -> None:
    assert Counter(in_parts(tests, workers, lambda one: one[1])) == Counter(tests)


@given(TESTS, st.integers(1, 4))
def test_nobody_waits_for_another_at_the_beginning(
    tests: list[tuple[int, Place]], workers: int
) -> None:
    """Where there is enough besides, each release is needed alone by one worker only, and there first of all."""
    free = [(len(tests) + number, Place(Needs.NOTHING)) for number in range(1000)]
    parts = cut(in_parts(tests + free, workers, lambda one: one[1]), workers)
    for release in RELEASES:
        alone = [(Needs.ALONE, release) in [place for _, place in part] for part in parts]
        assert sum(alone) <= 1
    for part in parts:
        kinds = [place.needs.value for _, place in part]
        assert kinds == sorted(kinds)


def test_files_that_take_time_are_shared_out_whole() -> None:
    sizes = {"a": 5, "b": 3, "c": 3, "d": 1}
    places = [Place(Needs.TIME, name) for name, size in sizes.items() for _ in range(size)]
    tests = list(enumerate([*places, *[Place(Needs.NOTHING)] * 100]))
    parts = cut(in_parts(tests, 2, lambda one: one[1]), 2)
    found = [[place.release for _, place in part if place.release] for part in parts]
    assert found == [["a"] * 5 + ["d"], ["b"] * 3 + ["c"] * 3]


def test_releases_are_shared_out_by_their_tests() -> None:
    places = [Place(Needs.ALONE, name) for name in ("a", "b", "a", "c", "a", "b")]
    tests = list(enumerate([*places, *[Place(Needs.NOTHING)] * 100]))
    parts = cut(in_parts(tests, 2, lambda one: one[1]), 2)
    needed = [{place.release for _, place in part if place.release} for part in parts]
    assert needed == [{"a"}, {"b", "c"}]
