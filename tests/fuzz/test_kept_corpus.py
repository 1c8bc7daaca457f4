"""Everything that fuzzing has kept, and everything it began with, still holds; no fuzzer is needed for that."""

import pytest

from tests.fuzz.kept import read_kept
from tests.fuzz.targets import TARGETS, seeds


@pytest.mark.parametrize("name", TARGETS)
def test_every_kept_input_holds(name: str) -> None:
    kept = read_kept(name)
    assert len(kept) >= 20
    inputs = [*kept, *seeds(name)]
    for one in inputs:
        try:
            TARGETS[name](one)
        except Exception as error:
            error.add_note(f"{name}: {one!r}")
            raise
