"""How much is in memory -> when it is trimmed, and how often."""

from mmap import mmap

import pytest

from gateway.edges.spare_memory import LONGEST_SECONDS, TIDY_SECONDS, SpareMemory, resident_bytes

MB = 1_000_000


class Process:
    """`held` bytes are in use, `spare` ones would be given back."""

    def __init__(self, held: int) -> None:
        self.held, self.spare, self.trims = held, 0, 0

    def resident(self) -> int:
        return self.held + self.spare

    def trim(self) -> None:
        self.trims += 1
        self.spare = 0


async def test_nothing_is_done_while_nothing_is_spare() -> None:
    process = Process(80 * MB)
    memory = SpareMemory(process.resident, process.trim)
    process.spare = 2 * MB
    await memory.look()
    assert (process.trims, memory.pause_seconds) == (0, TIDY_SECONDS)


async def test_what_a_crowd_leaves_is_given_back_as_soon_as_it_has_gone() -> None:
    process = Process(80 * MB)
    memory = SpareMemory(process.resident, process.trim)
    process.held, process.spare = 200 * MB, 50 * MB
    await memory.look()
    assert process.resident() == 200 * MB
    process.held, process.spare = 80 * MB, 120 * MB
    await memory.look()
    assert (process.resident(), process.trims) == (80 * MB, 2)


@pytest.mark.parametrize(("looks", "pause"), [(1, 4.0), (2, 8.0), (3, 16.0), (20, LONGEST_SECONDS)])
async def test_what_is_really_in_use_is_looked_through_ever_more_rarely(
    looks: int, pause: float
) -> None:
    process = Process(80 * MB)
    memory = SpareMemory(process.resident, process.trim)
    process.held = 200 * MB
    for _ in range(looks):
        await memory.look()
    assert memory.pause_seconds == pause


def test_the_machine_says_how_much_it_is() -> None:
    with mmap(-1, 64 * MB) as block:  # pages of its own: what was freed before does not serve it
        before = resident_bytes()
        block.write(b"x" * len(block))
        assert resident_bytes() - before > 32 * MB
