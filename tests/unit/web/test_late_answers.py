"""Answers that wait for the end of a turn, and those that do not, leave in the order of their requests."""

import asyncio
from typing import Any

import pytest

from tests.unit.web.test_http_protocol import Connection

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Mixed(Connection):
    """Answers late where `plan` says so and at once otherwise, each with the number of its request."""

    def __init__(self, plan: str) -> None:
        super().__init__()
        self.plan = plan
        self.asked = 0

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        number, self.asked = self.asked, self.asked + 1
        body = b"answer %d." % number
        length = str(len(body)).encode()
        if self.plan[number] == "l":
            lines = b"content-length: %b\r\n" % length
            assert scope["extensions"]["gateway.client"].respond(200, lines, body)
            return
        headers = [(b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("plan", ["ln", "nl", "ll", "lnl", "nln", "llnn", "lllll"])
@pytest.mark.parametrize("last", [GET, LAST], ids=["kept", "closed"])
async def test_pipelined_answers_keep_their_order(plan: str, last: bytes) -> None:
    connection = Mixed(plan)
    await connection.feed(GET * (len(plan) - 1) + last)
    parts = connection.transport.written.split(b"answer ")[1:]
    assert [int(part[:1]) for part in parts] == list(range(len(plan)))
    assert ("close" in connection.transport.deeds) == (last is LAST)


async def test_a_connection_that_was_idle_while_the_gateway_stood_still_gets_its_answer() -> None:
    """A file system that is thawed again: the timers that are due then may run before what is ready."""
    connection = Mixed("l")
    connection.protocol.data_received(GET)
    await asyncio.sleep(0)
    assert connection.transport.written == b""
    connection.protocol._close()
    assert connection.transport.written.endswith(b"answer 0.")
