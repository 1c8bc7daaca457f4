"""Equal reads share a flight and an entry; nothing else is shared, and nothing that a write has made old."""

import asyncio
from dataclasses import replace

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.cached_answer import CachedAnswer
from gateway.edges.cached_reads import key_of
from gateway.edges.upstream_answer import Answer
from gateway.model import CacheWish, Grant
from tests.cache_world import CacheWorld, grant_for, headers_of
from tests.fakes import make_call
from tests.upstream_kit import CANCEL, READ, SUBMIT, settled, text_of

NODES = make_call("/slurm/{version}/nodes")
CONF = make_call("/slurm/{version}/conf")
STRAIGHT = make_call("/openapi/v3")


@pytest.fixture
def world() -> CacheWorld:
    return CacheWorld()


def numbered(world: CacheWorld) -> None:
    """Each call has another answer, which says whose it is."""

    def body(grant: Grant) -> bytes:
        return f'{{"{grant.credential.user}":{len(world.slurm.sent)}}}'.encode()

    world.slurm.body = body


async def test_equal_reads_at_once_are_one_call(world: CacheWorld) -> None:
    world.slurm.hold = asyncio.Event()
    asking = [asyncio.create_task(world.ask()) for _ in range(20)]
    await settled(lambda: world.slurm.sent)
    world.slurm.hold.set()
    answers = await asyncio.gather(*asking)
    assert [answer.whole for answer in answers] == [b'{"n":1}'] * 20
    assert len(world.slurm.sent) == 1
    said = [headers_of(answer)["cache-status"] for answer in answers]
    assert said[0] == "slurm-gateway; fwd=uri-miss; fwd-status=200; stored"
    assert set(said[1:]) == {said[0] + "; collapsed"}
    assert [answer.note for answer in answers[:2]] == ["", "shared the answer of an equal request"]
    world.assert_nothing_is_held()


async def test_an_answer_is_used_for_its_time_and_no_longer(world: CacheWorld) -> None:
    numbered(world)
    assert await world.text() == b'{"alice":1}'
    world.clock.advance(0.75)
    found = await world.ask()
    assert found.whole == b'{"alice":1}'
    assert headers_of(found)["cache-status"] == "slurm-gateway; hit; ttl=0"
    assert found.note == "answered from the cache, 0.8 s old"
    world.clock.advance(0.25)
    found = await world.ask()
    assert found.whole == b'{"alice":2}'
    assert headers_of(found)["cache-status"].startswith("slurm-gateway; fwd=stale")


async def test_slow_things_live_longer(world: CacheWorld) -> None:
    numbered(world)
    nodes = grant_for(call=NODES)
    await world.text(nodes)
    world.clock.advance(4.5)
    found = await world.ask(nodes)
    assert (found.whole, headers_of(found)["age"]) == (b'{"alice":1}', "4")


@pytest.mark.parametrize(
    "other",
    [
        grant_for("bob"),
        grant_for(own_token="of-alice-herself"),
        grant_for(call=NODES),
        grant_for(call=READ._replace(target=b"/slurm/v0.0.38/jobs?update_time=1")),
    ],
    ids=["user", "token", "operation", "query"],
)
async def test_what_is_not_equal_is_asked_apart(world: CacheWorld, other: Grant) -> None:
    numbered(world)
    first, second = await world.text(), await world.text(other)
    assert first == b'{"alice":1}'
    assert second.endswith(b":2}")


async def test_another_media_type_is_another_answer(world: CacheWorld) -> None:
    numbered(world)
    await world.text()
    assert await world.text(accept="application/x-yaml") == b'{"alice":2}'


async def test_nobody_is_ever_answered_with_what_was_fetched_for_another(
    world: CacheWorld,
) -> None:
    """Flights and entries alike, whoever comes first."""
    numbered(world)
    users = ["alice", "bob", "carol"] * 10
    world.slurm.hold = asyncio.Event()
    asking = [asyncio.create_task(world.text(grant_for(user))) for user in users]
    await settled(lambda: len(world.slurm.sent) == 3)
    world.slurm.hold.set()
    answers = await asyncio.gather(*asking)
    answers += [await world.text(grant_for(user)) for user in users]
    for user, body in zip(users * 2, answers, strict=True):
        assert body.startswith(f'{{"{user}"'.encode())
    assert len(world.slurm.sent) == 3


@pytest.mark.parametrize("call", [SUBMIT, CANCEL])
async def test_a_users_own_write_shows_in_the_next_read(world: CacheWorld, call: object) -> None:
    numbered(world)
    await world.text()
    await world.ask(grant_for(call=call))  # type: ignore[arg-type]  # a call of either
    assert await world.text() == b'{"alice":3}'


async def test_a_write_that_failed_counts_too(world: CacheWorld) -> None:
    """It may have run all the same."""
    numbered(world)
    await world.text()
    world.slurm.error = Denied(Reason.UPSTREAM_TIMEOUT)
    with pytest.raises(Denied):
        await world.ask(grant_for(call=SUBMIT))
    world.slurm.error = None
    assert await world.text() == b'{"alice":3}'


async def test_a_write_of_jobs_leaves_nodes_alone_and_other_users_too(world: CacheWorld) -> None:
    numbered(world)
    nodes, bob = grant_for(call=NODES), grant_for("bob")
    for grant in (nodes, bob):
        await world.text(grant)
    await world.ask(grant_for(call=SUBMIT))
    assert await world.text(nodes) == b'{"alice":1}'
    assert await world.text(bob) == b'{"bob":2}'


async def test_a_flight_from_before_a_write_is_neither_joined_nor_stored(
    world: CacheWorld,
) -> None:
    numbered(world)
    world.slurm.hold = asyncio.Event()
    early = asyncio.create_task(world.text())
    await settled(lambda: world.slurm.sent)
    hold, world.slurm.hold = world.slurm.hold, None
    await world.ask(grant_for(call=SUBMIT))
    assert await world.text() == b'{"alice":3}'
    hold.set()
    assert await early == b'{"alice":1}'
    assert await world.text() == b'{"alice":3}'
    assert len(world.slurm.sent) == 3


async def test_a_flight_from_before_a_writes_end_is_not_used_after_it(world: CacheWorld) -> None:
    """Slurm does a write at some moment between its two ends: what was read meanwhile may be older."""
    numbered(world)
    world.slurm.hold = asyncio.Event()
    writing = asyncio.create_task(world.ask(grant_for(call=SUBMIT)))
    await settled(lambda: world.slurm.sent)
    hold, world.slurm.hold = world.slurm.hold, None
    assert await world.text() == b'{"alice":2}'
    hold.set()
    await writing
    assert await world.text() == b'{"alice":3}'


async def test_a_waiter_that_leaves_ends_nothing_for_the_others(world: CacheWorld) -> None:
    world.slurm.hold = asyncio.Event()
    asking = [asyncio.create_task(world.text()) for _ in range(3)]
    await settled(lambda: world.slurm.sent)
    asking[0].cancel()
    await asyncio.sleep(0)
    world.slurm.hold.set()
    assert await asyncio.gather(*asking[1:]) == [b'{"n":1}'] * 2
    assert len(world.slurm.sent) == 1


async def test_a_flight_that_all_have_left_lands_for_those_who_come(world: CacheWorld) -> None:
    world.slurm.hold = asyncio.Event()
    leaving = asyncio.create_task(world.text())
    await settled(lambda: world.slurm.sent)
    leaving.cancel()
    await asyncio.sleep(0)
    world.slurm.hold.set()
    assert await world.text() == b'{"n":1}'
    assert len(world.slurm.sent) == 1
    world.assert_nothing_is_held()


async def test_who_leaves_the_line_for_a_connection_leaves_nobody_in_it(world: CacheWorld) -> None:
    """Otherwise who asks and hangs up, again and again, fills the line of all."""
    world.slurm.line = asyncio.Event()
    leaving = asyncio.create_task(world.text())
    await settled(lambda: world.reads._flights)
    (flight,) = world.reads._flights.values()
    leaving.cancel()
    await settled(flight.task.done)
    assert flight.task.cancelled()
    world.slurm.line.set()
    assert await world.text() == b'{"n":1}'
    assert len(world.slurm.leases) == 1
    world.assert_nothing_is_held()


@pytest.mark.parametrize("reason", [Reason.BUSY, Reason.TOKEN_EXPIRING])
async def test_what_is_wrong_with_who_asked_first_is_not_said_to_those_who_joined(
    world: CacheWorld, reason: Reason
) -> None:
    world.slurm.hold, world.slurm.error = asyncio.Event(), Denied(reason)
    first, second = grant_for(), grant_for()
    other = second.admission.identity
    joining = replace(other, subject=f"not {other.subject}")
    second = second._replace(admission=second.admission._replace(identity=joining))
    world.slurm.error_for = other.key
    asking = [asyncio.create_task(world.text(grant)) for grant in (first, second)]
    await settled(lambda: sum(flight.waiters for flight in world.reads._flights.values()) == 2)
    world.slurm.hold.set()
    refused, answered = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(refused, Denied)
    assert refused.reason is reason
    assert answered == b'{"n":1}'


async def test_a_failed_flight_is_nobodys_who_comes_later(world: CacheWorld) -> None:
    world.slurm.hold = asyncio.Event()
    world.slurm.error = Denied(Reason.UPSTREAM_TIMEOUT)
    asking = [asyncio.create_task(world.ask()) for _ in range(2)]
    await settled(lambda: world.slurm.sent)
    world.slurm.hold.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(one) for one in found] == [Denied, Denied]
    world.slurm.error = None
    assert await world.text() == b'{"n":1}'
    assert len(world.slurm.sent) == 2
    world.assert_nothing_is_held()


@pytest.mark.parametrize("status", [204, 304, 404, 422, 500])
async def test_what_is_no_200_is_theirs_who_wait_for_it_and_is_not_kept(
    world: CacheWorld, status: int
) -> None:
    world.slurm.status, world.slurm.hold = status, asyncio.Event()
    if status in (204, 304):
        world.slurm.body = lambda _: b""
    asking = [asyncio.create_task(world.ask()) for _ in range(2)]
    await settled(lambda: world.slurm.sent)
    world.slurm.hold.set()
    answers = await asyncio.gather(*asking)
    assert [answer.head.status for answer in answers] == [status] * 2
    assert b"no-store" in answers[0].head.lines
    await world.text()
    assert len(world.slurm.sent) == 2
    world.assert_nothing_is_held()


async def test_an_answer_that_breaks_off_is_kept_for_nobody(world: CacheWorld) -> None:
    world.slurm.pieces = world.slurm.breaks = True
    with pytest.raises(Denied) as refusal:
        await world.ask()
    assert refusal.value.reason is Reason.UPSTREAM_INVALID
    world.slurm.breaks = False
    assert await world.text() == b'{"n":1}'
    assert world.entries.used < 3000
    world.assert_nothing_is_held()


class TestAnswersTooLarge:
    """One of those who wait has the answer as it comes, and the others ask for their own."""

    @pytest.fixture
    def world(self) -> CacheWorld:
        world = CacheWorld(maximum_answer_bytes=100)
        world.slurm.body = lambda grant: b"x" * 101
        world.slurm.pieces = True
        return world

    async def test_each_has_a_whole_one(self, world: CacheWorld) -> None:
        world.slurm.hold = asyncio.Event()
        asking = [asyncio.create_task(world.ask()) for _ in range(3)]
        await settled(lambda: world.slurm.sent)
        world.slurm.hold.set()
        answers = await asyncio.gather(*asking)
        assert not any(isinstance(answer, CachedAnswer) for answer in answers)
        assert len({id(answer) for answer in answers}) == 3
        for answer in answers:
            assert await text_of(answer) == b"x" * 101
            answer.close()
        assert (len(world.slurm.sent), len(world.entries)) == (3, 0)
        world.assert_nothing_is_held()

    async def test_its_slot_is_held_as_long_as_it_is_read(self, world: CacheWorld) -> None:
        answer = await world.ask()
        assert world.slurm.released == [0]
        answer.close()
        assert world.slurm.released == [1]

    async def test_one_that_nobody_waits_for_any_more_is_cut(self, world: CacheWorld) -> None:
        world.slurm.hold = asyncio.Event()
        leaving = asyncio.create_task(world.ask())
        await settled(lambda: world.slurm.sent)
        leaving.cancel()
        await asyncio.sleep(0)
        world.slurm.hold.set()
        await settled(lambda: world.slurm.released == [1])


async def test_where_there_is_no_room_nothing_is_kept() -> None:
    world = CacheWorld(maximum_bytes=3000)
    world.slurm.body = lambda grant: b"x" * 1001
    for _ in range(2):
        assert await world.text() == b"x" * 1001
    assert (len(world.slurm.sent), world.entries.used) == (2, 0)


async def test_a_client_may_ask_for_a_fresh_answer_within_a_limit(world: CacheWorld) -> None:
    numbered(world)
    fresh = CacheWish("", 0.0)
    await world.text()
    world.clock.advance(0.2)
    assert await world.text(cache_wish=fresh) == b'{"alice":1}'
    world.clock.advance(0.1)
    found = await world.ask(cache_wish=fresh)
    assert found.whole == b'{"alice":2}'
    assert headers_of(found)["cache-status"].startswith("slurm-gateway; fwd=request")
    assert await world.text() == b'{"alice":2}'


async def test_a_client_that_wants_a_fresh_answer_joins_no_old_flight(world: CacheWorld) -> None:
    numbered(world)
    world.slurm.hold = asyncio.Event()
    early = asyncio.create_task(world.text())
    await settled(lambda: world.slurm.sent)
    world.clock.advance(0.3)
    late = asyncio.create_task(world.text(cache_wish=CacheWish("", 0.0)))
    await settled(lambda: len(world.slurm.sent) == 2)
    world.slurm.hold.set()
    assert list(await asyncio.gather(early, late)) == [b'{"alice":1}', b'{"alice":2}']
    assert await world.text() == b'{"alice":2}'


async def test_what_is_never_kept_goes_straight_through(world: CacheWorld) -> None:
    grant = grant_for(call=STRAIGHT)
    first, second = await world.ask(grant), await world.ask(grant)
    assert not isinstance(first, CachedAnswer)
    assert isinstance(second, Answer)
    assert [sent.slot for sent in world.slurm.sent] == [grant.slot] * 2


def test_a_key_holds_whose_answer_it_is() -> None:
    assert key_of(grant_for()) == (("alice", ""), READ.target, "application/json")
    assert key_of(grant_for(own_token="t"))[0] == ("alice", "t")
