"""A body in memory in pieces, or at once where it is short."""

import pytest

from gateway.edges.held_answer import HeldAnswer
from gateway.stages.forward import own_head


def held(length: int) -> tuple[HeldAnswer, bytes]:
    body = bytes(number % 251 for number in range(length))
    return HeldAnswer(own_head(200, length, ()), body), body


@pytest.mark.parametrize("length", [0, 1, 65_536])
def test_what_is_short_is_whole(length: int) -> None:
    answer, body = held(length)
    assert answer.whole == body
    assert answer.is_over


@pytest.mark.parametrize("length", [65_537, 262_144, 262_145, 1_000_000])
async def test_what_is_long_goes_in_pieces_and_ends_with_its_last(length: int) -> None:
    answer, body = held(length)
    assert answer.whole is None
    pieces = []
    while not answer.is_over:
        pieces.append(await answer.read())
    assert b"".join(pieces) == body
    assert all(pieces)
    assert await answer.read() == b""


async def test_it_is_made_whole_for_whoever_may_hold_so_much() -> None:
    answer, body = held(100_000)
    assert not await answer.read_all(99_999)
    assert answer.whole is None
    assert await answer.read_all(100_000)
    assert answer.whole == body
