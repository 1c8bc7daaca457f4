"""Forwarding: what goes out, what is kept, what is tried again, and what a failure is called."""

import asyncio
from pathlib import Path

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.upstream_answer import UpstreamFailed
from gateway.edges.upstream_connection import UpstreamConnection
from gateway.model import AuthorizedCall, Risk
from gateway.stages.forward import AnswerHead, Patience, read_head
from tests.fakes import make_call
from tests.scripted_upstream import Script, Seen, Wire, answer, answering
from tests.upstream_kit import (
    CANCEL,
    READ,
    SUBMIT,
    Client,
    checking_each_request,
    make_grant,
    released,
    settled,
    text_of,
    upstream,
)

ON_BOTH_LOOPS = True

HEAVY = make_call("/slurm/{version}/jobs", Risk.READ_HEAVY)
RECONFIGURE = make_call("/slurm/{version}/reconfigure", Risk.ADMIN, changes_state=True)


def echo(seen: Seen) -> bytes:
    return answer(seen.path.encode() + b" " + seen.body)


async def test_a_connection_is_kept_and_used_again() -> None:
    async with upstream(answering(echo)) as (server, client):
        for _ in range(5):
            assert await client.ask() == (200, b"/slurm/v0.0.38/jobs ")
            await settled(lambda: client.slurmrestd._probing is None)
        assert {seen.connection for seen in server.seen if seen.token == "token-of-alice"} <= {1, 2}


async def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    async with upstream(answering(echo), path=str(tmp_path / "rest.sock")) as (server, client):
        assert (await client.ask())[0] == 200
        assert b"\r\nHost: localhost\r\n" in server.seen[0].head


@pytest.mark.parametrize("size", [1, 1000, 262_144, 262_145, 3_000_000])
async def test_a_body_arrives_whole_with_one_length_of_ours(size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    async with upstream(answering(echo)) as (server, client):
        status, text = await client.ask(SUBMIT, body=body[:size])
        assert (status, text) == (200, b"/slurm/v0.0.38/job/submit " + body[:size])
        assert server.seen[0].head.lower().count(b"content-length") == 1


@pytest.mark.parametrize("status", ["404 NOT FOUND", "500 Internal", "422 X", "503 X", "400 BAD"])
async def test_an_error_of_slurmrestd_passes_untouched_and_ends_its_connection(status: str) -> None:
    body = b'{"errors":[{"error":"no such job","error_number":2017}]}'
    async with upstream(answering(lambda _: answer(body, status))) as (_, client):
        grant = make_grant()
        found = await client.slurmrestd.send(grant)
        assert (found.head.status, await text_of(found)) == (int(status[:3]), body)
        assert (released(grant), client.pool.unused) == (1, 0)


async def test_an_error_ends_its_connection_even_if_the_server_would_go_on() -> None:
    async def play(wire: Wire) -> None:
        while await wire.request() is not None:
            await wire.send(answer(b"{}", "404 NOT FOUND"))

    async with upstream(play) as (server, client):
        await client.ask()
        await client.ask()
        assert [seen.connection for seen in server.seen] == [1, 2]


@pytest.mark.parametrize(
    "reply",
    [
        answer(b"{}", extra=b"Connection: close\r\n"),
        answer(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"),
        answer(b"{}") + b"Connection: Close\r\n",
        answer(b"{}") + answer(b"{}"),
        answer(b"{}") + b"\x00",
    ],
    ids=["close", "HTTP/1.0", "a stray line", "an answer too many", "a stray byte"],
)
async def test_a_connection_with_a_doubt_is_not_used_again(reply: bytes) -> None:
    async def play(wire: Wire) -> None:
        while await wire.request() is not None:
            await wire.send(reply)

    async with upstream(play) as (server, client):
        for _ in range(3):
            assert await client.ask() == (200, b"{}")
        assert [seen.connection for seen in server.seen] == [1, 2, 3]


async def test_bytes_that_come_while_nobody_asks_end_the_connection() -> None:
    async def play(wire: Wire) -> None:
        await wire.request()
        await wire.send(answer(b'{"for":"first"}'))
        if wire.number == 1:
            await asyncio.sleep(0.01)
            await wire.send(answer(b'{"for":"nobody"}'))
        await wire.ended()

    async with upstream(play) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        assert await client.ask() == (200, b'{"for":"first"}')
        await settled(lambda: client.pool.opened == 0)
        assert await client.ask() == (200, b'{"for":"first"}')
        assert [seen.connection for seen in server.seen] == [1, 2]


async def test_bytes_that_nobody_has_read_yet_are_noticed_before_the_connection_is_used() -> None:
    """The event loop has had no turn since they came; the kernel knows."""

    async with upstream(answering(echo)) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        await client.ask()
        wire = next(iter(server._wires))
        wire.writer.write(answer(b'{"for":"nobody"}'))  # goes to the kernel at once
        status, text = await client.ask()
        assert (status, text) == (200, b"/slurm/v0.0.38/jobs ")
        assert [seen.connection for seen in server.seen] == [1, 2]


# what is tried again


def dying_on(number: int) -> Script:
    """The connection's request with that number gets no answer."""

    async def play(wire: Wire) -> None:
        count = 0
        while (seen := await wire.request()) is not None:
            count += 1
            if count == number and wire.number == 1:
                wire.reset()
                return
            await wire.send(answer(seen.path.encode()))

    return play


@pytest.mark.parametrize("call", [READ, HEAVY], ids=["READ", "READ-HEAVY"])
async def test_a_read_on_a_stale_connection_is_tried_once_more(call: AuthorizedCall) -> None:
    async with upstream(dying_on(2)) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        await client.ask(call)
        assert (await client.ask(call))[0] == 200
        assert [seen.connection for seen in server.seen] == [1, 1, 2]


@pytest.mark.parametrize("call", [SUBMIT, CANCEL, RECONFIGURE], ids=lambda call: call.risk)
async def test_a_write_is_never_sent_twice(call: AuthorizedCall) -> None:
    async with upstream(dying_on(2)) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        await client.ask()
        with pytest.raises(Denied) as caught:
            await client.ask(call)
        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE
        assert caught.value.members == {"outcome": "unknown"}
        assert [seen.line for seen in server.seen].count(
            f"{call.operation.method} {call.target.decode()} HTTP/1.1"
        ) == 1


async def test_a_read_on_a_new_connection_is_not_tried_again() -> None:
    async with upstream(dying_on(1)) as (server, client):
        with pytest.raises(Denied) as caught:
            await client.ask()
        assert (caught.value.reason, len(server.seen)) == (Reason.UPSTREAM_UNREACHABLE, 1)
        assert caught.value.members == {}


async def test_a_read_is_tried_again_only_once() -> None:
    async def play(wire: Wire) -> None:
        await wire.request()
        if wire.number == 1:
            await wire.send(answer())
            await wire.request()
        wire.reset()

    async with upstream(play) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        await client.ask()
        with pytest.raises(Denied) as caught:
            await client.ask()
        assert (caught.value.reason, len(server.seen)) == (Reason.UPSTREAM_UNREACHABLE, 3)


async def test_a_read_is_not_tried_again_after_the_first_byte() -> None:
    async def play(wire: Wire) -> None:
        await wire.request()
        await wire.send(answer())
        await wire.request()
        await wire.send(b"HTTP/1.1 2")
        await asyncio.sleep(0.01)
        wire.reset()

    async with upstream(play) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        await client.ask()
        with pytest.raises(Denied) as caught:
            await client.ask()
        assert (caught.value.reason, len(server.seen)) == (Reason.UPSTREAM_INVALID, 2)


async def test_a_write_does_not_begin_on_a_connection_that_has_just_ended() -> None:
    """The end lies in the kernel and the event loop has not read it."""
    async with upstream(answering(echo)) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        await client.ask()
        next(iter(server._wires)).writer.transport.abort()
        await asyncio.sleep(0)
        assert (await client.ask(SUBMIT, body=b"{}"))[0] == 200
        assert [seen.connection for seen in server.seen] == [1, 2]


# what a failure is called


async def test_a_connection_that_ends_before_it_is_used_has_sent_nothing() -> None:
    async with upstream(answering(echo)) as (server, client):
        opened = client.pool.open

        async def open_and_lose(credential: tuple[str, str]) -> UpstreamConnection:
            connection = await opened(credential)
            connection.close()
            return connection

        client.pool.open = open_and_lose  # type: ignore[method-assign]  # a race, made certain
        with pytest.raises(Denied) as caught:
            await client.ask(SUBMIT, body=b"{}")
        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE
        assert caught.value.members == {"outcome": "not-run"}
        assert server.seen == []


@pytest.mark.parametrize(("call", "outcome"), [(READ, None), (SUBMIT, "not-run")])
async def test_a_slurmrestd_that_is_not_there(call: AuthorizedCall, outcome: str | None) -> None:
    async with upstream(answering(echo)) as (server, client):
        await server.stop()
        with pytest.raises(Denied) as caught:
            await client.ask(call)
        assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE
        assert caught.value.members.get("outcome") == outcome
        assert client.slurmrestd.state.is_reachable is False
        await server.start()
        assert (await client.ask(call))[0] == 200
        assert client.slurmrestd.state.is_reachable is True


async def test_a_connection_that_is_not_accepted_in_time(tmp_path: Path) -> None:
    """As at slurmrestd's 125th: the kernel takes the connection, or nobody does."""
    client = Client("http://192.0.2.1:6820", connect_seconds=0.05)
    with pytest.raises(Denied) as caught:
        await client.ask()
    assert caught.value.reason is Reason.UPSTREAM_UNREACHABLE


async def silent(wire: Wire) -> None:
    await wire.request()
    await wire.ended()


@pytest.mark.parametrize(("call", "outcome"), [(READ, None), (SUBMIT, "unknown")])
async def test_silence_has_an_end(call: AuthorizedCall, outcome: str | None) -> None:
    async with upstream(silent, patience=Patience(0.05, 0.05, 60)) as (server, client):
        with pytest.raises(Denied) as caught:
            await client.ask(call)
        assert caught.value.reason is Reason.UPSTREAM_TIMEOUT
        assert caught.value.members.get("outcome") == outcome
        await settled(lambda: server.live == 0)


async def test_heavy_reads_may_take_longer() -> None:
    async def slow(wire: Wire) -> None:
        await wire.request()
        await asyncio.sleep(0.6)
        await wire.send(answer())

    async with upstream(slow, patience=Patience(0.05, 0.05, 60)) as (_, client):
        assert (await client.ask(HEAVY))[0] == 200


async def test_a_head_that_trickles_is_no_answer_in_time() -> None:
    async def trickle(wire: Wire) -> None:
        await wire.request()
        for byte in answer():
            await wire.send(bytes([byte]))
            await asyncio.sleep(0.05)

    async with upstream(trickle, patience=Patience(0.2, 60, 60)) as (_, client):
        with pytest.raises(Denied) as caught:
            await client.ask()
        assert caught.value.reason is Reason.UPSTREAM_TIMEOUT


async def test_an_answer_that_stops_in_the_middle_is_given_up() -> None:
    async def stall(wire: Wire) -> None:
        await wire.request()
        await wire.send(answer(b"half", length=100))
        await wire.ended()

    async with upstream(stall, idle_seconds=0.3) as (_, client):
        grant = make_grant()
        found = await client.slurmrestd.send(grant)
        assert await found.read() == b"half"
        with pytest.raises(UpstreamFailed, match="stopped"):
            await found.read()
        assert not found.is_over


async def test_unused_connections_are_closed_in_time() -> None:
    async with upstream(answering(echo), idle_seconds=1.0) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        await client.ask()
        assert server.live == 1
        await settled(lambda: server.live == 0)


# the slot


async def test_the_slot_is_free_when_slurmrestd_has_sent_all_not_when_all_is_read() -> None:
    body = b"x" * 5_000_000
    async with upstream(answering(lambda _: answer(body))) as (_, client):
        client.pool.on_kept = lambda _connection, _lease: False
        grant = make_grant()
        found = await client.slurmrestd.send(grant)
        await settled(lambda: released(grant) == 1)
        assert client.pool.unused == 1
        assert await text_of(found) == body


async def test_a_larger_answer_waits_for_its_reader_with_little_memory() -> None:
    body = b"x" * 20_000_000
    async with upstream(answering(lambda _: answer(body)), buffer_bytes=1_000_000) as (_, client):
        client.pool.on_kept = lambda _connection, _lease: False
        grant = make_grant()
        found = await client.slurmrestd.send(grant)
        await asyncio.sleep(0.3)
        assert released(grant) == 0
        assert found._buffered < 2_500_000
        assert len(await text_of(found)) == len(body)
        assert found.is_over
        assert released(grant) == 1


async def test_answers_together_take_no_more_memory_than_there_is_room_for() -> None:
    """Two connections' worth: the third slow reader waits like one of a large answer."""
    body = b"x" * 4_000_000
    async with upstream(
        answering(lambda _: answer(body)), connections=2, buffer_bytes=4_000_000
    ) as (_, client):
        client.pool.on_kept = lambda _connection, _lease: False
        grants = [make_grant() for _ in range(3)]
        found = [await client.slurmrestd.send(grant) for grant in grants]
        await settled(lambda: [released(grant) for grant in grants[:2]] == [1, 1])
        await asyncio.sleep(0.1)
        assert released(grants[2]) == 0
        found[0].close()
        assert len(await text_of(found[2])) == len(body)
        found[1].close()
        fourth = make_grant()
        await client.slurmrestd.send(fourth)
        await settled(lambda: released(fourth) == 1)


# a caller that goes away


async def test_a_cancelled_wait_closes_the_connection() -> None:
    async with upstream(silent) as (server, client):
        waiting = asyncio.create_task(client.ask())
        await settled(lambda: server.seen)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        await settled(lambda: server.live == 0)
        assert client.pool.unused == 0


async def test_a_wait_cancelled_with_the_answer_in_hand_leaves_nothing_half_read() -> None:
    """The head has been read, and the cancellation comes before the task has seen it."""
    async with upstream(answering(lambda _: answer(b"x" * 3_000_000)), buffer_bytes=1000) as (
        server,
        client,
    ):
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(client.slurmrestd.send(make_grant()))

        def read_and_cancel(head: bytes) -> AnswerHead:
            loop.call_soon(waiting.cancel)
            return read_head(head)

        client.pool._read_head = read_and_cancel  # type: ignore[assignment]  # a race, made certain
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        await settled(lambda: server.live == 0)


async def test_an_answer_to_an_upload_that_is_not_over_ends_both() -> None:
    async def early(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(answer(b'{"errors":[]}', "413 Too Large"))
        await wire.ended()

    async with upstream(early) as (server, client):
        status, _ = await client.ask(SUBMIT, body=b"x" * 20_000_000)
        assert status == 413
        await settled(lambda: server.live == 0)


async def test_a_connection_that_answered_too_early_serves_nobody_else() -> None:
    """The rest of the body would be taken for the next request."""

    async def early(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await wire.send(answer(b"early"))
        await wire.ended()

    async with upstream(early) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        assert await client.ask(SUBMIT, body=b"x" * 20_000_000) == (200, b"early")
        assert client.pool.unused == 0
        await settled(lambda: server.live == 0)


async def test_an_upload_that_nobody_takes_has_an_end() -> None:
    async def deaf(wire: Wire) -> None:
        await wire.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(2)

    async with upstream(deaf, idle_seconds=0.3) as (_, client):
        with pytest.raises(Denied) as caught:
            await client.ask(SUBMIT, body=b"x" * 20_000_000)
        assert caught.value.reason is Reason.UPSTREAM_TIMEOUT


# the total


async def test_there_are_never_more_connections_than_allowed() -> None:
    """Twelve users in turn, each with connections of their own, as on 20.11."""
    most = 0

    async def play(wire: Wire) -> None:
        nonlocal most
        most = max(most, server.live)
        while (seen := await wire.request()) is not None:
            await wire.send(echo(seen))

    async with upstream(play, connections=4) as (server, client):
        client.pool.on_kept = lambda _connection, _lease: False
        for turn in range(36):
            await client.ask(token=f"token-{turn % 12}")
            await asyncio.sleep(0.005)
        assert client.pool.opened <= 4
        assert most <= 5  # one may still be closing on the server's side


async def test_requests_at_once_each_get_their_own_answer() -> None:
    async with upstream(answering(checking_each_request), connections=8) as (_, client):

        async def work(user: str) -> None:
            for _ in range(40):
                status, text = await client.ask(user=user)
                assert (status, b'"for":"%b"' % user.encode() in text) == (200, True)

        await asyncio.gather(*(work(user) for user in ["alice", "bob"] * 4))
        client.slurmrestd._next_probe = 0.0
        await work("alice")
        assert client.slurmrestd.state.checks_each_request is True
