"""What has to hold of every parser's input, with inputs that hypothesis makes of the fuzzer's first ones."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, seeds

SEEDS = {name: seeds(name) for name in TARGETS}
EXAMPLES = 60


@pytest.mark.parametrize("name", TARGETS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_any_input_is_refused_or_holds(name: str, data: st.DataObject) -> None:
    """Any bytes, a seed with some of it replaced, or two seeds spliced."""
    seed = data.draw(st.sampled_from(SEEDS[name]))
    other = data.draw(st.sampled_from(SEEDS[name]) | st.binary(max_size=40))
    start = data.draw(st.integers(0, len(seed)))
    end = data.draw(st.integers(start, len(seed)))
    place = data.draw(st.integers(0, len(other)))
    TARGETS[name](seed[:start] + other[place:] + seed[end:])
