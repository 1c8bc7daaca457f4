"""The proxy behind the gateway's own HTTP protocol, in front of a scripted slurmrestd, as bytes on sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.late_writes import LateWrites
from gateway.edges.slots import FairSlots
from gateway.model import Admission, AuthorizedCall, Identity, Lease
from gateway.request.request_id import RequestIds
from gateway.web.configured_protocol import ProtocolLimits, hardened_protocol
from gateway.web.express import Express
from gateway.web.listening import bind
from gateway.web.problems import render
from gateway.web.server import Listener
from tests.proxy_world import World
from tests.scripted_upstream import Script, ScriptedUpstream, Wire, answer, answering
from tests.upstream_kit import SUBMIT, Client, settled, upstream

ON_BOTH_LOOPS = True

HEAD = "Host: localhost\r\nAuthorization: Bearer a.b.c\r\n"
GET = f"GET /slurm/v0.0.38/jobs HTTP/1.1\r\n{HEAD}\r\n".encode()
BIG = b"x" * 30_000_000
T = TypeVar("T")


def post(length: int, extra: str = "") -> bytes:
    return (
        f"POST /slurm/v0.0.38/job/submit HTTP/1.1\r\n{HEAD}Content-Type: application/json\r\n"
        f"Content-Length: {length}\r\n{extra}\r\n"
    ).encode()


class Caller:
    """A client of raw bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head[:-4].split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await self.reader.readexactly(int(headers["content-length"]))
        return int(first.split(" ")[1]), headers, body

    def hang_up(self) -> None:
        self.writer.transport.abort()


class Gateway:
    """One running gateway among fakes, with a real client of a scripted slurmrestd."""

    def __init__(
        self, world: World, server: ScriptedUpstream, client: Client, listener: Listener, port: int
    ) -> None:
        self.world, self.server, self.client, self.port = world, server, client, port
        self.listener = listener
        self.callers: list[Caller] = []
        self.late_writes: LateWrites
        self.visits = 0
        self.rides = 0
        """Requests that are served by callbacks, or begun so."""

    async def call(self, data: bytes = b"") -> Caller:
        caller = Caller(*await asyncio.open_connection("127.0.0.1", self.port))
        self.callers.append(caller)
        caller.writer.write(data)
        return caller

    @property
    def codes(self) -> list[str]:
        return [record.code for record in self.world.records]


@asynccontextmanager
async def gateway(
    script: Script, *, seats: FairSlots | None = None, **options: Any
) -> AsyncIterator[Gateway]:
    """With `seats` the proxied paths are served by the protocol itself, and repeats ride."""
    late_writes = LateWrites()
    async with upstream(script, late_writes=late_writes, **options) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        world = World()
        world.serving = replace(world.serving, upstream=client.slurmrestd)
        bound = bind("127.0.0.1:0", 0o600)

        async def serve(client: Any) -> None:
            found.visits += 1
            await world.proxy.visit(client)

        def enter() -> bool:
            found.rides += 1
            return True

        if seats is not None:
            world.slots = seats
            now, ids = world.proxy._now, RequestIds()
            pipeline, ended = world.serving.pipeline, world.end

            def limit(identity: Identity, call: AuthorizedCall) -> Callable[[], Lease]:
                def once_more() -> Lease:
                    if "rate at once" in world.fails:
                        raise world.fails["rate at once"]
                    return at_once(pipeline.limit(identity, call))

                return once_more

            def holds(_: Admission) -> bool:
                return not {"authenticate", "map_user"} & world.fails.keys()

            ways = (enter, ended, limit, holds)
            express = Express(pipeline, client.slurmrestd, seats, now, ids, *ways)
            world.serving = replace(world.serving, express=express, ended=ended)
        protocol = hardened_protocol(
            ProtocolLimits(),
            lambda _: None,
            render,
            serve=serve if seats is not None else None,
            late_writes=late_writes,
        )
        listener = Listener("test", bound, world.proxy, protocol=protocol)
        await listener.begin()
        found = Gateway(world, server, client, listener, bound.socket.getsockname()[1])
        found.late_writes = late_writes
        try:
            yield found
        finally:
            for caller in found.callers:
                caller.hang_up()
            await listener.stop(1.0)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("it waits")


async def test_answers_follow_each_other_on_one_connection() -> None:
    async with gateway(answering(lambda _: answer(b'{"jobs":[]}'))) as at:
        caller = await at.call()
        for turn in range(3):
            caller.writer.write(GET)
            status, headers, body = await caller.answer()
            assert (status, body) == (200, b'{"jobs":[]}')
            assert headers["x-request-id"] == at.world.records[turn].request_id
            assert set(headers) - {"date"} == {
                "content-type",
                "content-length",
                "via",
                "cache-control",
                "x-content-type-options",
                "x-request-id",
            }


async def test_pipelined_requests_are_answered_one_by_one_and_recorded_each() -> None:
    """slurmrestd 20.11 ends at pipelined requests, so they never reach it as such."""
    most = 0

    async def play(wire: Wire) -> None:
        nonlocal most
        while await wire.request() is not None:
            most = max(most, len(wire.reader._buffer))  # type: ignore[attr-defined]  # no other look
            await wire.send(answer())

    async with gateway(play) as at:
        caller = await at.call(GET * 5)
        for _ in range(5):
            assert (await caller.answer())[0] == 200
        assert (len(at.world.records), most) == (5, 0)


async def test_bytes_that_are_no_request_overtake_no_answer_and_cost_nobody_else_theirs() -> None:
    """The refusal of what follows in the same packet is written while answers still wait to be."""
    async with gateway(answering(lambda _: answer(b'{"jobs":[]}'))) as at:
        for _ in range(20):
            good = [await at.call() for _ in range(6)]
            bad = [await at.call() for _ in range(6)]
            for fine, broken in zip(good, bad, strict=True):
                broken.writer.write(GET + b"GARBAGE\r\n\r\n")
                fine.writer.write(GET)
            for fine in good:
                assert (await asyncio.wait_for(fine.answer(), 60))[0] == 200
            for broken in bad:
                assert (await broken.answer())[0] == 200
                assert (await broken.answer())[0] == 400
                assert await broken.reader.read() == b""


async def test_an_answer_of_the_very_moment_is_not_lost_when_the_server_stops() -> None:
    async with gateway(answering(lambda _: answer(b'{"jobs":[]}'))) as at:

        def stop_all() -> None:
            for connection in list(at.listener.server_state.connections):
                connection.shutdown()

        loop = asyncio.get_running_loop()
        at.world.when_closing = lambda: loop.call_soon(stop_all)
        caller = await at.call(GET)
        assert (await caller.answer())[0] == 200
        assert await caller.reader.read() == b""


async def test_a_last_answer_says_so_and_the_connection_ends() -> None:
    async with gateway(answering(lambda _: answer())) as at:
        caller = await at.call(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        status, headers, _ = await caller.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await caller.reader.read() == b""


async def test_304_has_no_body_and_no_length() -> None:
    async with gateway(answering(lambda _: b"HTTP/1.1 304 NOT MODIFIED\r\n\r\n")) as at:
        caller = await at.call(GET)
        head = await caller.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 304 ")
        assert b"length" not in head
        assert b"chunked" not in head


async def test_a_large_answer_arrives_byte_for_byte() -> None:
    async with gateway(answering(lambda _: answer(BIG)), buffer_bytes=1_000_000) as at:
        caller = await at.call(GET)
        assert (await caller.answer())[2] == BIG
        caller.writer.write(GET)
        assert (await caller.answer())[2] == BIG


async def test_an_answer_that_breaks_off_is_seen_to_break_off() -> None:
    async def play(wire: Wire) -> None:
        await wire.request()
        await wire.send(answer(b"x" * 100_000, length=500_000))
        wire.writer.close()

    async with gateway(play) as at:
        caller = await at.call(GET)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.answer()
        await settled(lambda: at.codes == ["upstream-invalid"])
        record = at.world.records[0]
        assert (record.complete, record.status, record.granted) == (False, 200, True)


async def waiting(wire: Wire) -> None:
    await wire.request()
    await wire.ended()


async def test_who_hangs_up_while_waiting_for_a_read_frees_slurmrestd() -> None:
    async with gateway(waiting) as at:
        caller = await at.call(GET)
        await settled(lambda: at.server.seen)
        caller.hang_up()
        await settled(lambda: at.codes == ["client-closed"])
        await settled(lambda: at.server.live == 0)
        assert at.world.slot.released >= 1


async def test_who_hangs_up_inside_an_answer_frees_slurmrestd() -> None:
    async with gateway(answering(lambda _: answer(BIG)), buffer_bytes=1_000_000) as at:
        caller = await at.call(GET)
        await caller.reader.readexactly(100_000)
        caller.hang_up()
        await settled(lambda: at.codes == ["client-closed"])
        await settled(lambda: at.server.live == 0)
        assert not at.world.records[0].complete
        assert 0 < at.world.records[0].bytes_out < len(BIG)


async def test_who_hangs_up_after_a_submit_leaves_its_job_id_in_the_record() -> None:
    gate = asyncio.Event()

    async def play(wire: Wire) -> None:
        await wire.request()
        await gate.wait()
        await wire.send(answer(b'{"job_id":42}'))
        await wire.ended()

    async with gateway(play) as at:
        at.world.call = SUBMIT
        caller = await at.call(post(2) + b"{}")
        await settled(lambda: at.server.seen)
        caller.hang_up()
        await asyncio.sleep(0.05)
        assert at.world.records == []
        gate.set()
        await settled(lambda: at.codes == ["client-closed"])
        assert at.world.records[0].job_ids == ("42",)


async def test_a_body_is_asked_for_only_after_the_head_was_admitted() -> None:
    async with gateway(answering(lambda _: answer())) as at:
        at.world.call = SUBMIT
        caller = await at.call(post(2, "Expect: 100-continue\r\n"))
        assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        caller.writer.write(b"{}")
        assert (await caller.answer())[0] == 200
        assert at.server.seen[0].body == b"{}"


async def test_a_body_that_was_not_asked_for_is_not_taken_for_a_request() -> None:
    async with gateway(answering(lambda _: answer())) as at:
        at.world.fails = {"authenticate": Denied(Reason.TOKEN_INVALID)}
        caller = await at.call(post(len(GET), "Expect: 100-continue\r\n"))
        status, headers, _ = await caller.answer()
        assert (status, headers["connection"]) == (401, "close")
        caller.writer.write(GET)
        assert await caller.reader.read() == b""
        assert len(at.world.records) == 1


async def test_a_chunked_body_goes_on_with_a_length() -> None:
    async with gateway(answering(lambda seen: answer(seen.body))) as at:
        at.world.call = SUBMIT
        head = post(0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        caller = await at.call(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert (await caller.answer())[2] == b"abcde"
        assert b"chunked" not in at.server.seen[0].head.lower()
        assert b"Content-Length: 5\r\n" in at.server.seen[0].head


async def test_who_hangs_up_inside_the_upload_is_recorded_and_nothing_is_sent() -> None:
    async with gateway(answering(lambda _: answer())) as at:
        at.world.call = SUBMIT
        caller = await at.call(post(500) + b"x" * 100)
        await asyncio.sleep(0.05)
        caller.hang_up()
        await settled(lambda: at.codes == ["client-closed"])
        assert at.server.seen == []


async def test_slow_uploads_hold_no_connection_to_slurmrestd() -> None:
    async with gateway(answering(lambda _: answer()), connections=4) as at:
        at.world.call = SUBMIT
        for _ in range(20):
            await at.call(post(500) + b"x" * 100)
        await asyncio.sleep(0.1)
        assert at.server.opened == 0
        quick = await at.call(post(2) + b"{}")
        assert (await quick.answer())[0] == 200


async def test_readers_that_stop_hold_no_connection_to_slurmrestd() -> None:
    """Twelve answers of 5 MB that nobody reads yet: three for each connection."""
    body = BIG[:5_000_000]
    async with gateway(answering(lambda _: answer(body)), connections=4) as at:
        at.world.slots = FairSlots(4, 100, 30)
        stopped = [await at.call(GET) for _ in range(12)]
        await settled(lambda: len(at.server.seen) == 12, seconds=10)
        quick = await at.call(GET)
        assert (await quick.answer())[2] == body
        assert at.server.opened <= 4
        for caller in stopped:
            assert (await caller.answer())[2] == body


async def test_who_does_not_read_is_cut_off() -> None:
    async with gateway(answering(lambda _: answer(BIG)), buffer_bytes=1_000_000) as at:
        at.world.serving = replace(
            at.world.serving, held_window_seconds=0.1, minimum_bytes_per_second=10_000_000
        )
        caller = await at.call(GET)
        await settled(lambda: at.codes == ["client-too-slow"], seconds=10)
        await settled(lambda: at.server.live == 0)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await caller.answer()


async def test_nothing_of_the_callers_header_goes_on() -> None:
    """Whatever a client calls itself, slurmrestd sees the mapped user, and sees it once."""
    forged = (
        b"X-SLURM-USER-NAME: root\r\nx-slurm-user-token: evil\r\nX_SLURM_USER_NAME: root\r\n"
        b"Connection: X-SLURM-USER-NAME\r\nCookie: a=b\r\nTE: trailers\r\nX-Forwarded-For: 1.2.3.4\r\n"
    )
    async with gateway(answering(lambda _: answer())) as at:
        caller = await at.call(GET.replace(b"\r\n\r\n", b"\r\n" + forged + b"\r\n"))
        assert (await caller.answer())[0] == 200
        names = [line.split(b":")[0] for line in at.server.seen[0].head.split(b"\r\n")[1:-2]]
        assert names == [
            b"Host",
            b"Via",
            b"X-SLURM-USER-NAME",
            b"X-SLURM-USER-TOKEN",
            b"Accept",
        ]
        assert at.server.seen[0].user == "alice"
