"""Writes wait for the end of a turn, keep their order, and pass over what has closed."""

import asyncio

import pytest

from gateway.edges.late_writes import LateWrites


class Line:
    """A transport that notes what it was given in a list that several share."""

    def __init__(self, written: list[bytes]) -> None:
        self.written = written
        self.closing = False

    def write(self, data: bytes, /) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True


async def test_writes_go_out_in_order_after_everything_else_of_the_turn() -> None:
    written: list[bytes] = []
    late, one, other = LateWrites(), Line(written), Line(written)
    late.add(one, b"1")
    late.add(other, b"2")
    late.add(one, b"3")
    assert written == []
    await asyncio.sleep(0)
    assert written == [b"1", b"2", b"3"]
    late.add(other, b"4")
    await asyncio.sleep(0)
    assert written == [b"1", b"2", b"3", b"4"]


async def test_a_flush_writes_at_once_and_once() -> None:
    written: list[bytes] = []
    late, line = LateWrites(), Line(written)
    late.add(line, b"1")
    late.flush()
    assert written == [b"1"]
    await asyncio.sleep(0)
    assert written == [b"1"]


class Broken(Line):
    """Takes nothing, as a transport after write_eof."""

    def write(self, data: bytes, /) -> None:
        raise RuntimeError("Cannot call write() after write_eof()")


async def test_a_transport_that_takes_nothing_holds_up_nobody() -> None:
    written: list[bytes] = []
    late = LateWrites()
    late.add(Broken(written), b"lost")
    late.add(Line(written), b"kept")
    await asyncio.sleep(0)
    assert written == [b"kept"]


async def test_what_has_closed_meanwhile_is_not_written_to_and_holds_up_nobody() -> None:
    written: list[bytes] = []
    late, gone, here = LateWrites(), Line(written), Line(written)
    late.add(gone, b"lost")
    late.add(here, b"kept")
    gone.closing = True
    await asyncio.sleep(0)
    assert written == [b"kept"]


@pytest.mark.parametrize("is_flushed", [True, False])
async def test_where_what_goes_first_fails_its_connections_end_and_others_are_served(
    *, is_flushed: bool
) -> None:
    """What waits is never sent, and nothing waits for ever behind it."""
    written: list[bytes] = []
    late, before, after = LateWrites(), Line(written), Line(written)

    def fail() -> None:
        late.first = lambda: None
        raise RuntimeError("canary")

    late.first = fail
    late.add(before, b"lost")
    if is_flushed:
        with pytest.raises(RuntimeError):
            late.flush()
    else:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        await asyncio.sleep(0)
    late.add(after, b"kept")
    await asyncio.sleep(0)
    assert (written, before.closing, after.closing) == ([b"kept"], True, False)
