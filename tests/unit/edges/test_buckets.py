"""A hit is what the library makes of it, told by the library itself."""

from collections.abc import Iterator
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from limits.storage import MemoryStorage

from gateway.edges.buckets import SweptMemoryStorage

EXPIRY = 10


class LibraryStorage(MemoryStorage):
    """The library's own, without the thread that it starts: what has expired is forgotten when it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.timer.cancel()
        self.timer = SimpleNamespace(is_alive=lambda: True)  # type: ignore[assignment]  # never started


class Clock:
    """In the place of the module `time`, which the library reads."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def clock() -> Iterator[Clock]:
    """The library has no clock of its own to be given."""
    clock = Clock()
    with (
        patch("limits.storage.memory.time", clock),
        patch("gateway.edges.buckets.time", clock),
    ):
        yield clock


steps = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.001, 0.3, 1.0, 2.5, 9.999, 10.0, 10.001, 35.0, -3.0]),
        st.sampled_from("ab"),
        st.integers(1, 3),
    ),
    max_size=120,
)


@example(  # where a sweep would have come in between
    steps=[(-3.0, "a", 1), (9.999, "a", 1), (10.001, "a", 1), (-3.0, "a", 1)], limit=1, start=3.0
)
@given(steps=steps, limit=st.integers(1, 12), start=st.floats(0, 40))
def test_hits_are_counted_as_the_library_counts_them(
    clock: Clock, steps: list[tuple[float, str, int]], limit: int, start: float
) -> None:
    """Also by a clock that is set back, up to where expired counters were forgotten, as the library's thread does."""
    clock.now = 1_800_000_000.0 + start
    library, ours = LibraryStorage(), SweptMemoryStorage()
    with patch.object(ours, "_sweep"):
        for seconds, key, amount in steps:
            clock.now += seconds
            hit = (key, limit, EXPIRY, amount)
            heard = ours.acquire_sliding_window_entry(*hit)
            assert heard == library.acquire_sliding_window_entry(*hit)
            assert ours.get_sliding_window(key, EXPIRY) == library.get_sliding_window(key, EXPIRY)


def test_another_length_of_window_counts_apart(clock: Clock) -> None:
    """A reload may give a rate another length while its counters stay."""
    clock.now = 1_800_000_000.0
    library, ours = LibraryStorage(), SweptMemoryStorage()
    for expiry in (EXPIRY, 60, EXPIRY, 60):
        hit = ("a", 2, expiry)
        assert ours.acquire_sliding_window_entry(*hit) == library.acquire_sliding_window_entry(*hit)
        for length in (EXPIRY, 60):
            assert ours.get_sliding_window("a", length) == library.get_sliding_window("a", length)


def test_what_is_remembered_of_a_key_goes_with_the_next_sweep(clock: Clock) -> None:
    clock.now = 1_800_000_000.0
    ours = SweptMemoryStorage()
    for number in range(100):
        ours.acquire_sliding_window_entry(f"k{number}", 1, EXPIRY)
    clock.now += 1000.0
    ours.acquire_sliding_window_entry("another", 1, EXPIRY)
    ours.acquire_sliding_window_entry("another", 1, EXPIRY)
    assert (len(ours.storage), len(ours._keys)) == (1, 1)


def test_counters_are_forgotten_by_a_clock_that_was_set_back_too(clock: Clock) -> None:
    clock.now = 1_800_000_000.0
    ours = SweptMemoryStorage()
    ours.acquire_sliding_window_entry("before", 1, EXPIRY)
    clock.now -= 3600.0
    for number in range(500):
        clock.now += 1.0
        ours.acquire_sliding_window_entry(f"k{number}", 1, EXPIRY)
    assert len(ours.storage) < 50
