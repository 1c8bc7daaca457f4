"""What every store of generations keeps, and what is concluded from it."""

import pytest

from gateway.edges.generations import Floors, Generations, MemoryGenerations


@pytest.fixture(params=["memory"])
def generations(request: pytest.FixtureRequest) -> Generations:
    return MemoryGenerations()


async def test_nobody_has_written_in_the_beginning(generations: Generations) -> None:
    assert await generations.of("jobs\x1falice") == 0


async def test_a_number_never_comes_again(generations: Generations) -> None:
    seen = {await generations.of("a")}
    for _ in range(3):
        await generations.advance("a")
        number = await generations.of("a")
        assert number not in seen
        seen.add(number)


async def test_names_are_apart(generations: Generations) -> None:
    await generations.advance("a")
    assert await generations.of("b") == 0


async def test_a_flight_before_a_write_is_below_the_floor_and_one_after_it_is_not(
    generations: Generations,
) -> None:
    floors = Floors(generations)
    before = floors.next()
    assert before >= await floors.of("a")
    await floors.advance("a")
    assert before < await floors.of("a")
    after = floors.next()
    assert after >= await floors.of("a")
    assert before >= await floors.of("b")


async def test_a_write_elsewhere_is_noticed(generations: Generations) -> None:
    """By another process, or by the generation before a reload."""
    here, there = Floors(generations), Floors(generations)
    flight = here.next()
    assert flight >= await here.of("a")
    await there.advance("a")
    assert flight < await here.of("a")
    assert here.next() >= await here.of("a")
