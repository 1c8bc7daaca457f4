"""The gateway's own pages: what is counted before they are asked, and what the record says of it."""

import json
from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.model import AuditRecord, Secret
from gateway.web.audited import Audited
from gateway.web.client import AsgiReceive, AsgiSend, Scope

REFUSAL = Denied(Reason.ANONYMOUS_THROTTLED, "a note", headers=(("Retry-After", "7"),))


class World:
    """A page that is counted, with everything around it."""

    def __init__(self) -> None:
        self.counted: list[tuple[str, bytes | None]] = []
        self.refusal: Denied | None = None
        self.asked = 0
        self.records: list[AuditRecord] = []
        self.messages: list[dict[str, Any]] = []
        self.pages = Audited(self.page, self, lambda _headers, peer: (peer or "", ""), self)

    async def count(self, address: str, digest: bytes | None) -> None:
        self.counted.append((address, digest))
        if self.refusal is not None:
            raise self.refusal

    async def close(self, record: AuditRecord) -> None:
        self.records.append(record)

    async def page(self, _scope: Scope, _receive: AsgiReceive, send: AsgiSend) -> None:
        self.asked += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a page"})

    async def ask(self, path: bytes = b"/", *headers: tuple[bytes, bytes]) -> int:
        async def send(message: Any) -> None:
            self.messages.append(message)

        self.messages.clear()
        await self.pages(self.scope(path, *headers), self.receive, send)
        return int(self.messages[0]["status"])

    def scope(self, path: bytes, *headers: tuple[bytes, bytes]) -> Scope:
        return {
            "type": "http",
            "method": "GET",
            "raw_path": path,
            "query_string": b"",
            "headers": headers,
            "client": ("192.0.2.7", 40000),
        }

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request"}


async def test_a_page_is_counted_by_its_address_and_then_shown() -> None:
    world = World()
    assert await world.ask() == 200
    assert world.counted == [("192.0.2.7", None)]
    (record,) = world.records
    assert (record.granted, record.status, record.code) == (True, 200, "")


async def test_the_record_is_closed_once_and_before_the_last_part_of_the_answer_leaves() -> None:
    world = World()
    seen: list[int] = []

    async def send(message: Any) -> None:
        seen.append(len(world.records))

    world.refusal = REFUSAL
    await world.pages(world.scope(b"/"), world.receive, send)
    world.refusal = None
    await world.pages(world.scope(b"/"), world.receive, send)
    assert seen == [0, 1, 1, 2]


async def test_what_is_too_much_is_a_problem_the_page_is_not_asked_and_the_record_says_so() -> None:
    world = World()
    world.refusal = REFUSAL
    assert await world.ask() == 429
    assert world.asked == 0
    told = json.loads(world.messages[1]["body"])
    (record,) = world.records
    assert (told["code"], told["request_id"]) == ("anonymous-throttled", record.request_id)
    assert dict(world.messages[0]["headers"])[b"retry-after"] == b"7"
    assert (record.granted, record.status, record.code) == (False, 429, "anonymous-throttled")
    assert (record.note, record.complete) == ("a note", True)
    assert record.bytes_out == len(world.messages[1]["body"])


@pytest.mark.parametrize(
    ("value", "token"),
    [
        (b"Bearer abc", "abc"),
        (b" bearer abc ", "abc"),
        (b"Basic abc", None),
        (b"Bearer", ""),
    ],
)
async def test_a_token_that_comes_along_is_named_by_its_digest(
    value: bytes, token: str | None
) -> None:
    world = World()
    await world.ask(b"/", (b"authorization", value))
    digest = None if token is None else Secret(token).digest()
    assert world.counted == [("192.0.2.7", digest)]


async def test_a_providers_logout_token_is_not_counted_or_sessions_would_outlive_it() -> None:
    world = World()
    world.refusal = REFUSAL
    assert await world.ask(b"/login/backchannel/campus") == 200
    assert await world.ask(b"/login/") == 429
    assert len(world.counted) == 1
