"""Callers of one key share one flight, which lands whoever goes away."""

import asyncio
import gc

import pytest

from gateway.edges.one_flight import OneFlight


class Airport:
    """Counts take-offs; a flight lands when it is told to."""

    def __init__(self) -> None:
        self.taken_off = 0
        self.land = asyncio.Event()

    async def fly(self) -> int:
        self.taken_off += 1
        await self.land.wait()
        return self.taken_off

    async def crash(self) -> int:
        raise LookupError


async def test_many_callers_share_a_flight_and_the_next_ones_begin_another() -> None:
    airport, flight = Airport(), OneFlight[str, int]()
    callers = [asyncio.ensure_future(flight.join("a", airport.fly)) for _ in range(5)]
    airport.land.set()
    assert await asyncio.gather(*callers) == [1] * 5
    assert await flight.join("a", airport.fly) == 2


async def test_keys_fly_apart() -> None:
    airport, flight = Airport(), OneFlight[str, int]()
    airport.land.set()
    await asyncio.gather(flight.join("a", airport.fly), flight.join("b", airport.fly))
    assert airport.taken_off == 2


async def test_a_caller_that_leaves_takes_nobody_with_it() -> None:
    airport, flight = Airport(), OneFlight[str, int]()
    leaving = asyncio.ensure_future(flight.join("a", airport.fly))
    staying = asyncio.ensure_future(flight.join("a", airport.fly))
    await asyncio.sleep(0)
    leaving.cancel()
    airport.land.set()
    assert await staying == 1


async def test_an_exception_is_everybodys_and_the_next_flight_begins_anew() -> None:
    airport, flight = Airport(), OneFlight[str, int]()
    callers = [flight.join("a", airport.crash) for _ in range(3)]
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LookupError] * 3
    airport.land.set()
    assert await flight.join("a", airport.fly) == 1


async def test_a_flight_that_fails_with_nobody_aboard_makes_no_noise() -> None:
    airport, flight, noise = Airport(), OneFlight[str, int](), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    leaving = asyncio.ensure_future(flight.join("a", airport.crash))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    await asyncio.sleep(0)
    gc.collect()
    assert noise == []
