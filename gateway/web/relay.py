"""ASGI messages -> a whole spooled body; an Answer -> ASGI messages, at the pace of client and slurmrestd."""

import asyncio
from dataclasses import dataclass
from typing import Protocol

from gateway.denial import Denied, Reason
from gateway.model import Body, InboundRequest
from gateway.web.client import AsgiReceive


class Spooling(Protocol):
    """One body on its way in."""

    @property
    def length(self) -> int: ...

    async def append(self, piece: bytes, /) -> None: ...

    async def finish(self) -> Body: ...

    def discard(self) -> None: ...


class Spool(Protocol):
    """Where bodies go until they are whole."""

    def begin(self) -> Spooling: ...


@dataclass(frozen=True, slots=True)
class BodyDeadlines:
    """How long a client may pause inside a body, and how long all of it may take, in seconds."""

    idle_seconds: float
    total_seconds: float


async def take_body(
    receive: AsgiReceive,
    request: InboundRequest,
    spool: Spool,
    maximum_bytes: int,
    deadlines: BodyDeadlines,
) -> Body:
    """Read the whole body. Raises Denied: BODY_TOO_LARGE, BODY_TIMEOUT, FRAMING_INVALID,
    CLIENT_CLOSED, SPOOL_UNAVAILABLE.

    The first call of `receive` makes the server send 100 Continue.
    """
    spooling = spool.begin()
    try:
        await _fill(spooling, receive, maximum_bytes, deadlines)
        if request.length is not None and spooling.length != request.length:
            raise Denied(Reason.FRAMING_INVALID, f"{spooling.length} of {request.length} bytes")
        return await spooling.finish()
    except TimeoutError as error:
        raise Denied(Reason.BODY_TIMEOUT, f"after {spooling.length} bytes") from error
    except OSError as error:
        raise Denied(
            Reason.SPOOL_UNAVAILABLE,
            error.strerror or "",
            headers=(("Retry-After", "5"),),
            members={"outcome": "not-run"},
        ) from error
    finally:
        spooling.discard()


async def _fill(
    spooling: Spooling, receive: AsgiReceive, maximum_bytes: int, deadlines: BodyDeadlines
) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + deadlines.total_seconds
    async with asyncio.timeout(None) as patience:
        more = True
        while more:
            patience.reschedule(min(loop.time() + deadlines.idle_seconds, end))
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Denied(Reason.CLIENT_CLOSED, f"after {spooling.length} bytes of the body")
            piece = message.get("body", b"")
            if spooling.length + len(piece) > maximum_bytes:
                raise Denied(
                    Reason.BODY_TOO_LARGE,
                    detail=f"The body may have at most {maximum_bytes} bytes here.",
                )
            if piece:
                patience.reschedule(None)
                await spooling.append(piece)
            more = message.get("more_body", False)


class ReadingRate:
    """Tells a client that reads too slowly: less than the minimum over a window of waiting for it."""

    def __init__(self, minimum_bytes_per_second: int, window_seconds: float) -> None:
        self._minimum = minimum_bytes_per_second
        self._window = window_seconds
        self._waited = 0.0
        self._sent = 0

    def longest_wait(self, size: int) -> float:
        """Seconds that `size` bytes may take at most."""
        return self._window + size / self._minimum

    def is_too_slow(self, size: int, seconds: float) -> bool:
        """After `size` bytes went out in `seconds`."""
        self._sent += size
        self._waited += seconds
        if self._waited < self._window:
            return False
        too_slow = self._sent < self._minimum * self._waited
        self._sent, self._waited = 0, 0.0
        return too_slow
