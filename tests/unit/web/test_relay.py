"""Bodies come in whole, in time and no larger than allowed; readers have a minimum speed."""

import asyncio
from pathlib import Path

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.spool import Spool
from gateway.model import Body
from gateway.web.client import Message
from gateway.web.relay import BodyDeadlines, ReadingRate, take_body
from tests.fakes import make_request

PATIENT = BodyDeadlines(idle_seconds=5, total_seconds=5)


class Sender:
    """Sends the pieces, each after its pause; then hangs up."""

    def __init__(self, pieces: list[tuple[float, bytes]], *, complete: bool = True) -> None:
        self._pieces = pieces
        self._complete = complete

    async def __call__(self) -> Message:
        if not self._pieces:
            return {"type": "http.disconnect"}
        pause, piece = self._pieces.pop(0)
        await asyncio.sleep(pause)
        more = bool(self._pieces) or not self._complete
        return {"type": "http.request", "body": piece, "more_body": more}


async def taken(
    sender: Sender,
    tmp_path: Path,
    *,
    length: int | None = None,
    most: int = 1000,
    deadlines: BodyDeadlines = PATIENT,
) -> Body:
    request = make_request(method="POST", length=length)
    return await take_body(sender, request, Spool(16, tmp_path), most, deadlines)


@pytest.mark.parametrize("length", [None, 10])
async def test_a_body_is_taken_whole(length: int | None, tmp_path: Path) -> None:
    body = await taken(Sender([(0, b"01234"), (0, b""), (0, b"56789")]), tmp_path, length=length)
    assert (body.length, body.read(99)) == (10, b"0123456789")


@pytest.mark.parametrize(
    ("pieces", "complete", "length", "reason"),
    [
        ([(0.0, b"x" * 1001)], True, None, Reason.BODY_TOO_LARGE),
        ([(0.0, b"x" * 600), (0.0, b"x" * 600)], True, 1000, Reason.BODY_TOO_LARGE),
        ([(0.0, b"x" * 9)], True, 10, Reason.FRAMING_INVALID),
        ([(0.0, b"x" * 11)], True, 10, Reason.FRAMING_INVALID),
        ([(0.0, b"x" * 5)], False, 10, Reason.CLIENT_CLOSED),
        ([], True, 10, Reason.CLIENT_CLOSED),
    ],
    ids=["too large", "a length that lies", "too short", "too long", "hung up", "never sent"],
)
async def test_a_body_that_is_not_what_was_announced(
    pieces: list[tuple[float, bytes]],
    complete: bool,
    length: int | None,
    reason: Reason,
    tmp_path: Path,
) -> None:
    with pytest.raises(Denied) as caught:
        await taken(Sender(pieces, complete=complete), tmp_path, length=length)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("pieces", "deadlines"),
    [
        ([(0.0, b"x"), (2.0, b"x")], BodyDeadlines(idle_seconds=0.05, total_seconds=5)),
        ([(0.02, b"x")] * 50, BodyDeadlines(idle_seconds=5, total_seconds=0.1)),
    ],
    ids=["a pause", "a trickle"],
)
async def test_a_body_has_deadlines(
    pieces: list[tuple[float, bytes]], deadlines: BodyDeadlines, tmp_path: Path
) -> None:
    with pytest.raises(Denied) as caught:
        await taken(Sender(pieces), tmp_path, deadlines=deadlines)
    assert caught.value.reason is Reason.BODY_TIMEOUT


async def test_a_disk_that_does_not_take_it_is_said_to_be_the_cause(tmp_path: Path) -> None:
    with pytest.raises(Denied) as caught:
        await taken(Sender([(0, b"x" * 99)]), tmp_path / "missing")
    assert caught.value.reason is Reason.SPOOL_UNAVAILABLE
    assert caught.value.note == "No such file or directory"
    assert "missing" not in caught.value.detail
    assert caught.value.headers == (("Retry-After", "5"),)
    assert caught.value.members == {"outcome": "not-run"}


@pytest.mark.parametrize(
    ("sends", "slow_at"),
    [
        ([(1_000_000, 1.0)] * 20, None),
        ([(500, 1.0)] * 20, 10),
        ([(20_000, 10.0)], None),
        ([(5_000, 10.0)], 1),
        ([(1_000_000, 0.1)] * 5 + [(100, 1.0)] * 30, 25),
        ([(0, 0.5)] * 19, None),
    ],
    ids=["fast", "slow", "just fast enough", "one slow window", "slow after a good start", "waits"],
)
def test_a_reader_is_judged_by_windows_of_waiting(
    sends: list[tuple[int, float]], slow_at: int | None
) -> None:
    """Ten seconds of waiting for the client must have moved 1000 bytes each second."""
    rate = ReadingRate(1000, 10.0)
    found = None
    for number, (size, seconds) in enumerate(sends, 1):
        if rate.is_too_slow(size, seconds):
            found = number
            break
    assert found == slow_at
    assert rate.longest_wait(5000) == 15.0
