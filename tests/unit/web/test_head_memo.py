"""A repeated head is the same request under a new id, for the stage that read it and for no other."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Secret
from gateway.web.head_memo import HeadMemo
from tests.fakes import make_request
from tests.unit.web.test_http_protocol import Connection


def test_only_the_id_of_a_repeated_head_is_new() -> None:
    memo, reader = HeadMemo(), object()
    request = make_request(bearer=Secret("canary"))
    memo.keep(reader, request)
    assert memo.recall(reader, "new") == request._replace(request_id="new")


def test_another_reader_makes_its_own_reading() -> None:
    """A new configuration has a new first stage, which may read the same bytes otherwise."""
    memo = HeadMemo()
    assert memo.recall(object(), "new") is None
    memo.keep(object(), make_request())
    assert memo.recall(object(), "new") is None


HEADS = [
    b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n\r\n",
    b"GET /b?x=1 HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody",
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
]


@given(st.lists(st.sampled_from(HEADS), min_size=1, max_size=8))
def test_any_sequence_on_one_connection_reads_as_each_alone(requests: list[bytes]) -> None:
    """Repeated heads, with others and with bodies between them, bring the same requests."""

    async def scopes_of(*pieces: bytes) -> list[dict[str, Any]]:
        connection = Connection()
        await connection.feed(*pieces)
        assert connection.statuses == [200] * len(pieces)
        return [
            {**scope, "extensions": scope["extensions"]["gateway.target"], "body": body}
            for scope, body in zip(connection.scopes, connection.bodies, strict=True)
        ]

    async def compare() -> None:
        together = await scopes_of(*requests)
        alone = [(await scopes_of(request))[0] for request in requests]
        assert together == alone

    asyncio.run(compare())


async def test_what_is_remembered_of_a_head_is_offered_with_its_repeats_only() -> None:
    connection = Connection()
    await connection.feed(HEADS[0], HEADS[0], HEADS[1], HEADS[0])
    memos = [client.memo for client in connection.clients]
    assert memos[0] is memos[1]
    assert len({id(memo) for memo in memos}) == 3


async def test_a_repeat_on_another_connection_is_read_anew() -> None:
    memos = []
    for _ in range(2):
        connection = Connection()
        await connection.feed(HEADS[1])
        memos.append(connection.clients[0].memo)
    assert memos[0] is not memos[1]
