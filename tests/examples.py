"""How often a property is tried -> hypothesis's settings: a fifth in `make test`, all of it in `make test-long`."""

import os
from typing import Any

from hypothesis import settings

ALL_EXAMPLES = os.environ.get("ALL_EXAMPLES") == "1"
"""`make test-long`: every one, and others in each run."""
_SHORT = 5
_LEAST = 50


def tried(times: int, **more: Any) -> settings:
    """`times` is what `make test-long` does."""
    if not ALL_EXAMPLES:
        times = min(times, max(_LEAST, times // _SHORT))
    return settings(max_examples=times, **more)
