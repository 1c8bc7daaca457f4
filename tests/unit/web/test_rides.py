"""Repeats that are served by callbacks are answered, refused and recorded as visits are, whatever goes wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.slots import FairSlots
from gateway.edges.slurmrestd import Slurmrestd
from gateway.edges.upstream_answer import Answer
from gateway.model import AuthorizedCall, Grant, InboundRequest
from gateway.stages.forward import Patience, with_length
from gateway.stages.limit import WouldWait
from tests.fakes import make_identity
from tests.scripted_upstream import Script, Seen, Wire, answer, answering
from tests.unit.web.test_proxy_on_the_wire import BIG, GET, Caller, Gateway, gateway
from tests.upstream_kit import CANCEL, READ, SUBMIT, settled

ON_BOTH_LOOPS = True
FIRST = answer(b'{"first":1}')


@asynccontextmanager
async def primed(
    script: Script, *, callers: int = 1, seats: FairSlots | None = None, **options: Any
) -> AsyncIterator[tuple[Gateway, list[Caller]]]:
    """Connections that have had an answer to GET, and one of them two, so that the next one rides."""
    seats = seats or FairSlots(8, 100, 5.0)
    async with gateway(script, seats=seats, **options) as at:
        found = [await at.call() for _ in range(callers)]
        for caller in [*found, found[0]]:
            caller.writer.write(GET)
            assert (await caller.answer())[2] == b'{"first":1}'
        await asyncio.sleep(0)
        at.world.records.clear()
        at.visits = at.rides = at.world.ended = 0
        leased, released = at.world.leased, at.world.lease.released
        yield at, found
        await settled(lambda: at.world.ended == at.visits + at.rides)
        assert at.world.leased - leased == at.world.lease.released - released
        for _ in range(2):  # every slot is free again
            lease = await asyncio.wait_for(seats.acquire(make_identity()), 30)
            lease.release()


def then(*replies: bytes) -> Script:
    """What one caller is primed with, then these, over all connections; errors close."""
    left = [FIRST, FIRST, *replies]
    return answering(lambda _: left.pop(0) if left else answer())


async def prime(wire: Wire) -> None:
    """What one caller is primed with."""
    for _ in range(2):
        await wire.request()
        await wire.send(FIRST)


async def test_repeats_ride() -> None:
    async with primed(then(*[answer(b'{"n":%d}' % n) for n in range(5)])) as (at, (caller,)):
        for n in range(5):
            caller.writer.write(GET)
            status, headers, body = await caller.answer()
            assert (status, body) == (200, b'{"n":%d}' % n)
            assert headers["x-request-id"] == at.world.records[n].request_id
        assert (at.visits, at.rides) == (0, 5)
        ids = {record.request_id for record in at.world.records}
        assert len(ids) == 5
        for record in at.world.records:
            assert (record.granted, record.complete, record.status) == (True, True, 200)
            assert record.identity is not None
            assert record.user is not None
            assert record.call is not None
            assert record.request is not None
            assert record.client_address == "127.0.0.1"
            assert record.bytes_out == 7
            assert record.total_seconds > 0


async def test_another_head_does_not_ride_and_ends_no_decision_on_the_first() -> None:
    other = GET.replace(b"jobs", b"ping")
    async with primed(then()) as (at, (caller,)):
        for data in (other, GET):
            caller.writer.write(data)
            assert (await caller.answer())[0] == 200
        assert (at.visits, at.rides) == (1, 1)


async def test_a_decision_serves_other_connections_the_first_request_included() -> None:
    async with primed(then()) as (at, _):
        for _ in range(3):
            caller = await at.call(GET)
            assert (await caller.answer())[0] == 200
        assert (at.visits, at.rides) == (0, 3)


async def test_who_is_the_first_on_a_connection_may_hang_up_too() -> None:
    async with primed(silent) as (at, _):
        caller = await at.call(GET)
        await settled(lambda: len(at.server.seen) == 3)
        caller.hang_up()
        await settled(lambda: at.codes == ["client-closed"])
        await settled(lambda: at.server.live == 0)


async def test_from_another_address_nothing_rides() -> None:
    async with primed(then()) as (at, _):
        for _ in range(2):
            there = asyncio.open_connection("127.0.0.1", at.port, local_addr=("127.0.0.2", 0))
            caller = Caller(*await there)
            at.callers.append(caller)
            caller.writer.write(GET)
            assert (await caller.answer())[0] == 200
        assert (at.visits, at.rides) == (2, 0)
        assert [record.client_address for record in at.world.records] == ["127.0.0.2"] * 2


async def test_what_ends_its_connection_is_of_no_use_to_others() -> None:
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with primed(then()) as (at, _):
        for _ in range(4):
            caller = await at.call(last)
            status, headers, _ = await caller.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert await caller.reader.read() == b""
        assert (at.visits, at.rides) == (4, 0)


async def test_a_body_that_reads_like_a_known_head_is_a_body() -> None:
    """In packets of their own, so that exactly those bytes come at once."""
    post = GET.replace(b"GET", b"POST").replace(
        b"\r\n\r\n", b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(GET)
    )
    async with primed(then()) as (at, (caller,)):
        at.world.call = SUBMIT
        seen = len(at.server.seen)
        caller.writer.write(post)
        await settled(lambda: at.visits == 1)
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 200
        assert [each.body for each in at.server.seen[seen:]] == [GET]
        assert (at.visits, at.rides) == (1, 0)


async def test_the_end_of_a_head_that_reads_like_a_known_one_is_its_end() -> None:
    async with primed(then()) as (at, (caller,)):
        caller.writer.write(b"GET /slurm/v0.0.38/ping HTTP/1.1\r\nX-Odd: ")
        await asyncio.sleep(0.02)
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 200
        assert (at.visits, at.rides) == (1, 0)


async def test_a_decision_that_the_stages_make_again_at_once_stands_on() -> None:
    async with primed(then()) as (at, (caller,)):
        for after in (0.85, 0.85, 1.1, 600.0):
            at.world.time += after
            for _ in range(2):
                caller.writer.write(GET)
                assert (await caller.answer())[0] == 200
        assert (at.visits, at.rides) == (0, 8)


@pytest.mark.parametrize("after", [0.85, 1.1])
async def test_another_call_is_not_the_same_decision(after: float) -> None:
    async with primed(then()) as (at, (caller,)):
        at.world.time += after
        at.world.call = READ._replace(rule="another")
        for _ in range(2):
            caller.writer.write(GET)
            assert (await caller.answer())[0] == 200
        assert (at.visits, at.rides) == (1, 1)
        first, second = at.world.records
        assert first.rule == second.rule == "another"


async def test_one_of_many_renews_a_decision_before_it_ends() -> None:
    async with primed(then()) as (at, (caller,)):
        at.world.waits = {"credential"}
        for turn, after in enumerate((0.85, 0.85, 1.1), 1):
            at.world.time += after
            for _ in range(4):
                caller.writer.write(GET)
                assert (await caller.answer())[0] == 200
            assert (at.visits, at.rides) == (turn, 3 * turn)


async def test_a_renewal_that_is_refused_ends_the_decision_for_all() -> None:
    async with primed(answering(lambda _: FIRST), callers=2) as (at, (one, two)):
        at.world.time += 0.85
        at.world.fails = {"authorize": Denied(Reason.OPERATION_UNLISTED)}
        for caller in (one, two, one):
            caller.writer.write(GET)
            assert (await caller.answer())[0] == 403
        assert (at.visits, at.rides) == (3, 0)


async def test_pipelined_repeats_are_answered_in_order() -> None:
    replies = [answer(b'{"n":%d}' % n) for n in range(6)]
    async with primed(then(*replies)) as (at, (caller,)):
        caller.writer.write(GET * 6)
        for n in range(6):
            assert (await caller.answer())[2] == b'{"n":%d}' % n
        assert at.visits + at.rides == 6


async def test_without_a_token_nothing_rides() -> None:
    """What a session may do can be ended from elsewhere at any moment."""
    head = GET.replace(b"Authorization", b"X-Other")
    async with gateway(then(FIRST, FIRST), seats=FairSlots(8, 100, 5.0)) as at:
        caller = await at.call()
        for _ in range(3):
            caller.writer.write(head)
            assert (await caller.answer())[0] == 200
        assert (at.visits, at.rides) == (3, 0)


class Answering:
    """An upstream that gives an answer of its own, as for a document or a stored answer."""

    def __init__(self, upstream: Slurmrestd) -> None:
        self._upstream = upstream

    async def send(self, grant: Grant) -> Answer:
        answer = await self._upstream.send(grant)
        return Answer(with_length(answer.head, 3), b"own")


async def test_what_the_gateway_answers_itself_never_rides() -> None:
    """A ride goes straight to slurmrestd, past whatever stands before it."""
    async with gateway(then(FIRST, FIRST), seats=FairSlots(8, 100, 5.0)) as at:
        serving = at.world.serving
        at.world.serving = replace(serving, upstream=Answering(at.client.slurmrestd))
        caller = await at.call()
        for _ in range(3):
            caller.writer.write(GET)
            assert (await caller.answer())[2] == b"own"
        assert (at.visits, at.rides) == (3, 0)


async def test_a_write_never_rides() -> None:
    async with gateway(then(FIRST, FIRST), seats=FairSlots(8, 100, 5.0)) as at:
        at.world.call = CANCEL
        caller = await at.call()
        for _ in range(3):
            caller.writer.write(GET)
            assert (await caller.answer())[0] == 200
        assert (at.visits, at.rides) == (3, 0)


async def test_a_decision_stands_for_a_moment_only() -> None:
    async with primed(then()) as (at, (caller,)):
        at.world.time += 0.2
        at.world.fails = {"authenticate": Denied(Reason.TOKEN_INVALID)}
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 401
        assert (at.visits, at.rides) == (1, 0)


async def test_a_clock_that_was_set_back_ends_a_decision() -> None:
    async with primed(then()) as (at, (caller,)):
        at.world.time -= 1.0
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 200
        assert (at.visits, at.rides) == (1, 0)


@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        (answer(b'{"errors":[]}', "404 NOT FOUND"), 404, ""),
        (answer(b"", "401 UNAUTHORIZED"), 502, "credential-refused"),
        (b"HTTP/1.1 200 OK\r\n\r\n", 502, "upstream-invalid"),
        (b"rubbish\r\n\r\n", 502, "upstream-invalid"),
    ],
)
async def test_what_is_no_plain_answer(reply: bytes, status: int, code: str) -> None:
    async with primed(then(reply)) as (at, (caller,)):
        caller.writer.write(GET)
        assert (await caller.answer())[0] == status
        assert at.rides == 1
        assert at.codes == [code]
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 200


async def test_a_large_answer_arrives_byte_for_byte() -> None:
    async with primed(then(answer(BIG), answer(BIG)), buffer_bytes=1_000_000) as (at, (caller,)):
        for _ in range(2):
            caller.writer.write(GET)
            assert (await caller.answer())[2] == BIG
        assert at.rides == 2
        assert all(record.complete for record in at.world.records)


async def test_a_connection_that_had_gone_stale_costs_one_retry() -> None:
    async def play(wire: Wire) -> None:
        if wire.number == 1:
            await prime(wire)
            await wire.request()
            wire.reset()
            return
        while await wire.request() is not None:
            await wire.send(answer())

    async with primed(play) as (at, (caller,)):
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 200
        assert (at.rides, len(at.server.seen), at.codes) == (1, 4, [""])
        (record,) = at.world.records
        assert record.request is not None
        assert record.request.request_id == record.request_id


async def test_a_connection_that_has_ended_is_not_used() -> None:
    async def play(wire: Wire) -> None:
        await prime(wire)
        wire.writer.close()

    async with primed(play) as (at, (caller,)):
        await settled(lambda: at.server.live == 0)
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 200
        assert (at.rides, len(at.server.seen)) == (1, 3)


async def test_an_answer_that_breaks_off_is_seen_to_break_off() -> None:
    async def play(wire: Wire) -> None:
        await prime(wire)
        await wire.request()
        await wire.send(answer(b"x" * 100_000, length=500_000))
        wire.writer.close()

    async with primed(play) as (at, (caller,)):
        caller.writer.write(GET)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.answer()
        await settled(lambda: at.codes == ["upstream-invalid"])
        assert not at.world.records[0].complete


async def silent(wire: Wire) -> None:
    await prime(wire)
    await wire.request()
    await wire.ended()


async def test_who_hangs_up_frees_slurmrestd() -> None:
    async with primed(silent) as (at, (caller,)):
        caller.writer.write(GET)
        await settled(lambda: len(at.server.seen) == 3)
        caller.hang_up()
        await settled(lambda: at.codes == ["client-closed"])
        await settled(lambda: at.server.live == 0)


async def test_a_silent_slurmrestd_is_given_up() -> None:
    async with primed(silent, patience=Patience(0.1, 0.1, 0.1)) as (at, (caller,)):
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 504
        assert at.codes == ["upstream-timeout"]


async def one_seat(
    act: Callable[[Gateway, Caller, Caller, asyncio.Event], Any],
    *,
    queue: int = 10,
    seconds: float = 5.0,
) -> None:
    """Two primed connections and one slot, which the first one holds until `gate` is set."""
    gate = asyncio.Event()

    async def play(wire: Wire) -> None:
        while (seen := await wire.request()) is not None:
            if len(wire._seen) > 3:
                await gate.wait()
            await wire.send(FIRST)
            del seen

    async with primed(play, callers=2, seats=FairSlots(1, queue, seconds)) as (at, (one, two)):
        one.writer.write(GET)
        await settled(lambda: len(at.server.seen) == 4)
        two.writer.write(GET)
        await settled(lambda: at.rides == 2)
        await act(at, one, two, gate)
        gate.set()
        assert (await one.answer())[0] == 200


async def test_who_waits_for_a_slot_gets_it() -> None:
    async def act(at: Gateway, one: Caller, two: Caller, gate: asyncio.Event) -> None:
        assert len(at.server.seen) == 4
        gate.set()
        assert (await two.answer())[0] == 200
        assert len(at.server.seen) == 5

    await one_seat(act)


async def test_who_hangs_up_in_the_queue_is_not_sent() -> None:
    async def act(at: Gateway, one: Caller, two: Caller, gate: asyncio.Event) -> None:
        two.hang_up()
        await settled(lambda: at.codes == ["client-closed"])
        assert isinstance(at.world.slots, FairSlots)
        assert at.world.slots.queued == 0

    await one_seat(act)


async def test_who_has_waited_too_long_is_told() -> None:
    async def act(at: Gateway, one: Caller, two: Caller, gate: asyncio.Event) -> None:
        assert (await two.answer())[0] == 503
        assert at.codes == ["busy"]

    await one_seat(act, seconds=0.2)


async def test_a_full_queue_is_told_at_once() -> None:
    async def act(at: Gateway, one: Caller, two: Caller, gate: asyncio.Event) -> None:
        assert (await two.answer())[0] == 503
        assert at.codes == ["busy"]

    await one_seat(act, queue=0)


@pytest.mark.parametrize(
    ("stage", "status"), [("limit", 429), ("open", 503)], ids=["rate", "audit"]
)
async def test_a_stage_that_says_no(stage: str, status: int) -> None:
    reason = Reason.RATE_EXCEEDED if stage == "limit" else Reason.AUDIT_UNAVAILABLE
    async with primed(then()) as (at, (caller,)):
        at.world.fails = {stage: Denied(reason)}
        caller.writer.write(GET)
        assert (await caller.answer())[0] == status
        assert at.codes == [reason.code]
        assert not at.world.records[0].granted
        assert len(at.server.seen) == 2


async def test_a_rate_that_has_to_be_asked_for_is_a_visits_and_ends_no_decision() -> None:
    async with primed(then()) as (at, (caller,)):
        for fails, visits in (({"rate at once": WouldWait()}, 1), ({}, 1)):
            at.world.fails = fails
            caller.writer.write(GET)
            assert (await caller.answer())[0] == 200
            assert at.visits == visits


async def test_an_audit_that_has_to_wait_is_waited_for() -> None:
    async with primed(then()) as (at, (caller,)):
        at.world.closing = asyncio.Event()
        caller.writer.write(GET)
        await settled(lambda: at.world.records)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(caller.reader.readexactly(1), 0.05)
        at.world.closing.set()
        assert (await caller.answer())[0] == 200
        assert at.world.opened == 3


@pytest.mark.parametrize("stage", ["open", "close"])
async def test_a_fault_of_ours_is_answered_for(stage: str) -> None:
    async with primed(then()) as (at, (caller,)):
        at.world.fails = {stage: RuntimeError("canary")}
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 500
        at.world.fails = {}
        assert at.world.ended == 1


async def test_a_server_that_stops_waits_for_it() -> None:
    gate = asyncio.Event()

    async def play(wire: Wire) -> None:
        await prime(wire)
        await wire.request()
        await gate.wait()
        await wire.send(answer())
        await wire.ended()

    async with primed(play) as (at, (caller,)):
        caller.writer.write(GET)
        await settled(lambda: len(at.server.seen) == 3)
        stopping = asyncio.create_task(at.listener.stop(60.0))
        await asyncio.sleep(0.2)
        assert not stopping.done()
        gate.set()
        status, headers, _ = await caller.answer()
        assert (status, headers["connection"]) == (200, "close")
        await asyncio.wait_for(stopping, 30)


async def test_a_server_that_can_wait_no_longer_cuts_it_off() -> None:
    async with primed(silent) as (at, (caller,)):
        caller.writer.write(GET)
        await settled(lambda: len(at.server.seen) == 3)
        await asyncio.wait_for(at.listener.stop(0.1), 30)
        await settled(lambda: len(at.codes) == 1)
        (record,) = at.world.records
        assert (record.code, record.note) == ("shutting-down", "cut off")
        assert (record.granted, record.complete, record.bytes_out) == (True, False, 0)


async def test_nobody_sees_what_somebody_else_asked_for() -> None:
    """Twenty callers with a target each, who hang up here and there, over four connections upstream."""

    def reply(seen: Seen) -> bytes:
        return answer(seen.path.encode() * 50)

    def call_of(request: InboundRequest) -> AuthorizedCall:
        return READ._replace(target=request.target.path.encode())

    async with gateway(answering(reply), seats=FairSlots(4, 100, 5.0), connections=4) as at:
        at.world.authorizes = call_of

        async def poll(number: int) -> None:
            target = f"/slurm/v0.0.38/job/{number}"
            data = GET.replace(b"/slurm/v0.0.38/jobs", target.encode())
            caller = await at.call()
            for turn in range(30):
                caller.writer.write(data)
                if (turn + number) % 7 == 0:
                    await asyncio.sleep(0.001 * (number % 3))
                    caller.hang_up()
                    caller = await at.call()
                    continue
                status, _, body = await caller.answer()
                assert (status, body) == (200, target.encode() * 50)

        await asyncio.gather(*[poll(number) for number in range(20)])
        assert at.rides > 100
