"""What some tests fetch from registries -> fetched beside the others, so that nobody waits for a network.

`make test` starts it and does not look at its end: whoever needs one of these waits for it, fetches what is
still missing, and tells what went wrong.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lab.accessibility.axe import axe_script
from lab.processes import LabError
from tests.integration.clients.toolchain import toolchain


def fetch() -> int:
    """Exit code 1: something is still missing."""
    tasks: tuple[Callable[[], object], ...] = (axe_script, toolchain)
    with ThreadPoolExecutor() as pool:
        return int(not all(pool.map(_is_done, tasks)))


def _is_done(task: Callable[[], object]) -> bool:
    try:
        task()
    except (AssertionError, LabError, OSError):
        return False
    return True


if __name__ == "__main__":
    sys.exit(fetch())
