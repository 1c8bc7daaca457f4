"""Collected tests and the number of workers -> an order in which workers seldom wait for each other.

Each worker begins with its own part of the list, and who is done takes from the end of another's. So each
has its own Slurm releases, first the tests that need one for themselves, then those that share it; then whole
files of tests that take seconds; and at the end of every part stands what anybody can do at any time. In any
other order a worker waited for minutes while another stopped daemons (measured with two workers).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Needs(Enum):
    """What a test does to a Slurm release."""

    ALONE = auto()
    SHARED = auto()
    TIME = auto()
    """Seconds, and nothing of a release: who is done takes from the end of others, where small ones shall stand."""
    NOTHING = auto()


class Place(NamedTuple):
    """Where a test belongs. `release` is that which it needs, or the file whose tests stay together; or empty."""

    needs: Needs
    release: str = ""


def in_parts(tests: Sequence[T], workers: int, place: Callable[[T], Place]) -> list[T]:
    """The parts one after the other, as long as pytest-xdist cuts them."""
    places = [(test, place(test)) for test in tests]
    owners = _owners([at.release for _, at in places if at.needs is Needs.ALONE], workers)
    alone: list[list[T]] = [[] for _ in range(workers)]
    shared: list[list[T]] = [[] for _ in range(workers)]
    long: dict[str, list[T]] = {}
    free: list[T] = []
    for test, at in places:
        match at.needs:
            case Needs.TIME:
                long.setdefault(at.release, []).append(test)
            case Needs.NOTHING:
                free.append(test)
            case _:
                owner = owners.get(at.release, workers - 1)
                (alone if at.needs is Needs.ALONE else shared)[owner].append(test)
    parts = [one + more for one, more in zip(alone, shared, strict=True)]
    for together in sorted(long.values(), key=len, reverse=True):
        min(parts, key=len).extend(together)
    return _joined(parts, free)


def _owners(releases: Sequence[str], workers: int) -> dict[str, int]:
    """The release with most tests first, each to the worker that has least."""
    load, owners = [0] * workers, {}
    for release, count in Counter(releases).most_common():
        owner = load.index(min(load))
        owners[release] = owner
        load[owner] += count
    return owners


def _joined(parts: list[list[T]], free: list[T]) -> list[T]:
    """Each part as long as it is cut: filled up, or with its end in another that has room."""
    left = sum(map(len, parts)) + len(free)
    lengths = []
    for number in range(len(parts)):
        lengths.append(left // (len(parts) - number))
        left -= lengths[-1]
    pairs = list(zip(parts, lengths, strict=True))
    others = [test for part, length in pairs for test in part[length:]] + free
    found: list[T] = []
    for part, length in pairs:
        room = max(0, length - len(part))
        found += part[:length] + others[:room]
        del others[:room]
    return found
