"""A repeated head is the same request under a new id, for the stage that read it and for no other."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Secret
from gateway.web.head_memo import HeadMemo, SentHead
from gateway.web.known_heads import LONGEST_HEAD, KnownHeads
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


async def test_what_no_stage_has_let_through_is_read_anew_on_another_connection() -> None:
    memos = []
    for _ in range(2):
        connection = Connection()
        await connection.feed(HEADS[1])
        memos.append(connection.clients[0].memo)
    assert memos[0] is not memos[1]


def memo_of(heads: KnownHeads, data: bytes, peer: str | None = "192.0.2.7") -> HeadMemo:
    return HeadMemo(SentHead(data, peer, "GET", b"/a", ()), heads.keep)


async def test_a_head_is_found_after_it_was_answered_well_and_decided_on_for_good_the_time_after() -> (
    None
):
    heads = KnownHeads()
    memo = memo_of(heads, b"a")
    assert heads.find(b"a", "192.0.2.7") is None
    assert not memo.wants_lane(0.0)
    assert heads.find(b"a", "192.0.2.7") is memo
    assert memo.wants_lane(0.0)


@pytest.mark.parametrize(
    ("data", "peer"), [(b"b", "192.0.2.7"), (b"a", "192.0.2.8"), (b"a", None), (b"a ", "192.0.2.7")]
)
async def test_another_byte_or_another_address_is_another_head(
    data: bytes, peer: str | None
) -> None:
    heads = KnownHeads()
    memo_of(heads, b"a").wants_lane(0.0)
    assert heads.find(data, peer) is None


async def test_of_two_readings_of_a_head_the_first_is_shared() -> None:
    heads = KnownHeads()
    first, second = memo_of(heads, b"a"), memo_of(heads, b"a")
    for memo in (first, second, second):
        assert not memo.wants_lane(0.0)
    assert heads.find(b"a", "192.0.2.7") is first


async def test_a_head_of_one_connection_alone_is_never_decided_on_for_good() -> None:
    memo = HeadMemo()
    assert not memo.wants_lane(0.0)
    assert not memo.wants_lane(0.0)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=80))
def test_there_are_never_more_heads_or_bytes_than_there_may_be(
    course: list[tuple[int, bool]],
) -> None:
    """What goes is decided on no more, and what is used stays longer than what is not."""

    async def take() -> None:
        heads = KnownHeads(most=6, most_bytes=200)
        memos = [memo_of(heads, b"x" * (number + 1)) for number in range(31)]
        for number, is_used in course:
            memos[number].wants_lane(0.0)
            memos[number].lane = Standing()
            found = [memo for memo in memos if memo.is_shared]
            assert memos[number] in found
            assert len(found) == len(heads) <= 6
            assert sum(len(memo.sent.data) for memo in found if memo.sent) <= 200
            for memo in memos:
                assert memo.sent
                known = heads.find(memo.sent.data, memo.sent.peer)
                assert (known is memo) == memo.is_shared
                assert memo.is_shared or memo.lane is None or memo is memos[number]
            memos[number].was_used = is_used

    asyncio.run(take())


async def test_what_is_used_outlives_what_is_not() -> None:
    heads = KnownHeads(most=3)
    memos = [memo_of(heads, data) for data in (b"a", b"b", b"c", b"d")]
    for memo in memos[:3]:
        memo.wants_lane(0.0)
    memos[1].was_used = False
    memos[3].wants_lane(0.0)
    assert [memo.is_shared for memo in memos] == [True, False, True, True]


async def test_a_head_that_is_too_long_is_not_kept() -> None:
    heads = KnownHeads()
    memo = memo_of(heads, b"x" * (LONGEST_HEAD + 1))
    memo.wants_lane(0.0)
    assert (len(heads), memo.is_shared) == (0, False)


async def test_what_nobody_sends_any_more_is_forgotten() -> None:
    heads = KnownHeads(sweep_seconds=0.01)
    idle, busy = memo_of(heads, b"a"), memo_of(heads, b"b")
    for memo in (idle, busy):
        memo.wants_lane(0.0)
    idle.lane = Standing()
    while idle.is_shared:
        busy.was_used = True
        await asyncio.sleep(0.005)
    assert not idle.lane
    assert (busy.is_shared, len(heads)) == (True, 1)
    while len(heads):  # noqa: ASYNC110  # nobody is told
        await asyncio.sleep(0.005)
    memo_of(heads, b"c").wants_lane(0.0)
    assert len(heads) == 1


class Standing:
    """A decision that stands from 10 to 20."""

    has_ended = False
    since, renews_from = 10.0, 20.0

    def takes(self, client: object) -> bool:
        return False


@pytest.mark.parametrize(("begun", "wants"), [(9.0, True), (10.0, False), (20.0, True)])
async def test_of_those_who_decide_at_the_same_time_one_keeps_the_decision(
    begun: float, wants: bool
) -> None:
    memo = memo_of(KnownHeads(), b"a")
    memo.wants_lane(0.0)
    memo.lane = Standing()
    assert memo.wants_lane(begun) == wants


@pytest.mark.parametrize("has_ended", [True, False])
def test_a_decision_that_serves_no_more_is_let_go_of_and_one_that_is_renewed_is_not(
    *, has_ended: bool
) -> None:
    memo, lane = HeadMemo(), Standing()
    memo.lane, lane.has_ended = lane, has_ended
    assert not memo.rides(object())
    assert memo.lane is (None if has_ended else lane)
