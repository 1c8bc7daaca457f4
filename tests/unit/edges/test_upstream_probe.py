"""Connections serve one credential until slurmrestd was seen to check each request, and again after any doubt."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.denial import Denied
from tests.fakes import make_call
from tests.scripted_upstream import Script, ScriptedUpstream, Seen, Wire, answer, answering
from tests.upstream_kit import (
    DIAG_PATH,
    GOOD_TOKENS,
    Client,
    checking_each_request,
    checking_each_request_2205,
    checking_once,
    make_grant,
    released,
    settled,
    text_of,
    upstream,
)

ON_BOTH_LOOPS = True


def by_connection(server: ScriptedUpstream) -> dict[int, set[str]]:
    """Which users each connection has served with a good token."""
    served: dict[int, set[str]] = {}
    for seen in server.seen:
        if GOOD_TOKENS.get(seen.user) == seen.token:
            served.setdefault(seen.connection, set()).add(seen.user)
    return served


def found(client: Client) -> bool | None:
    """What the client believes of its slurmrestd."""
    return client.slurmrestd.state.checks_each_request


async def probed(client: Client) -> None:
    """Wait until a probe has come to its end."""
    await settled(lambda: client.slurmrestd._next_probe and client.slurmrestd._probing is None)


@pytest.mark.parametrize("release", [checking_each_request, checking_each_request_2205])
async def test_connections_are_shared_after_a_bad_token_was_refused_on_one(
    release: Callable[[Seen], bytes],
) -> None:
    async with upstream(answering(release)) as (server, client):
        assert found(client) is None
        await client.ask(user="alice")
        await probed(client)
        assert found(client) is True
        probe = server.seen[1:]
        assert [(seen.path, seen.token) for seen in probe] == [
            (DIAG_PATH, "token-of-alice"),
            (DIAG_PATH, "not-a-token"),
            (DIAG_PATH, "token-of-alice"),
        ]
        assert len({seen.connection for seen in server.seen[:3]}) == 1
        for user in ("bob", "alice", "bob"):
            assert b'"for":"%b"' % user.encode() in (await client.ask(user=user))[1]
        assert {"alice", "bob"} in by_connection(server).values()


async def test_on_2011_a_connection_never_serves_a_second_credential() -> None:
    """Shared connections would let Bob act as Alice there; the script answers as whoever came first."""
    async with upstream(checking_once()) as (server, client):
        for _ in range(5):
            for user in ("alice", "bob"):
                assert await client.ask(user=user) == (200, b'{"for":"%b"}' % user.encode())
                await probed(client)
        assert found(client) is False
        assert all(len(users) == 1 for users in by_connection(server).values())
        assert len(server.seen) < 10 + 6  # one probe, not one for each request


async def test_on_2011_users_at_once_are_kept_apart_from_the_first_request_on() -> None:
    async with upstream(checking_once()) as (server, client):

        async def work(user: str) -> None:
            for _ in range(30):
                assert await client.ask(user=user) == (200, b'{"for":"%b"}' % user.encode())

        await asyncio.gather(*(work(user) for user in ["alice", "bob"] * 3))
        assert all(len(users) == 1 for users in by_connection(server).values())


async def test_a_new_token_of_the_same_user_is_another_credential() -> None:
    async with upstream(answering(lambda _: answer())) as (server, client):
        await client.ask()
        await probed(client)
        await client.ask()
        await client.ask(token="token-of-alice-renewed")
        first, *_, again, renewed = server.seen
        assert first.connection == again.connection != renewed.connection


async def test_before_the_probe_has_ended_nothing_is_shared() -> None:
    gate = asyncio.Event()

    async def play(wire: Wire) -> None:
        while (seen := await wire.request()) is not None:
            if seen.path == DIAG_PATH:
                await gate.wait()
            await wire.send(checking_each_request(seen))

    async with upstream(play) as (server, client):
        await client.ask(user="alice")
        await client.ask(user="bob")
        await client.ask(user="alice")
        assert all(len(users) == 1 for users in by_connection(server).values())
        gate.set()
        await probed(client)
        assert found(client) is True


async def test_the_probe_holds_the_slot_of_its_connection_and_no_answer_waits_for_it() -> None:
    gate = asyncio.Event()

    async def play(wire: Wire) -> None:
        while (seen := await wire.request()) is not None:
            if seen.path == DIAG_PATH:
                await gate.wait()
            await wire.send(checking_each_request(seen))

    async with upstream(play) as (_, client):
        grant = make_grant()
        assert await text_of(await client.slurmrestd.send(grant))
        assert released(grant) == 0
        gate.set()
        await settled(lambda: released(grant) == 1)


def failing_for_all_but_good(status: str, body: bytes) -> Script:
    """A slurmctld that goes away just when the bad token comes."""
    bad_seen = False

    async def play(wire: Wire) -> None:
        nonlocal bad_seen
        while (seen := await wire.request()) is not None:
            bad_seen = bad_seen or seen.token == "not-a-token"
            if bad_seen:
                await wire.send(answer(body, status))
                return
            await wire.send(checking_each_request(seen))

    return play


@pytest.mark.parametrize(
    ("status", "body", "proves"),
    [
        ("401 X", b"no", True),
        ("511 X", b"{}", True),
        ("500 X", b'{"errors":[{"error_number":-1}]}', True),
        ("500 X", b'{"errors":[]}', False),
        ("500 X", b'{"errors":[{"error_number":1800}]}', False),
        ("502 X", b'{"errors":[{"error_number":1800}]}', False),
        ("404 X", b"{}", False),
        ("503 X", b"{}", False),
        ("201 X", b"{}", False),
        ("302 X", b"", False),
    ],
)
async def test_only_a_certain_refusal_of_the_bad_token_is_a_proof(
    status: str, body: bytes, proves: bool
) -> None:
    def reply(seen: Seen) -> bytes:
        return answer(body, status) if seen.token == "not-a-token" else answer()

    async with upstream(answering(reply)) as (_, client):
        await client.ask()
        await probed(client)
        assert client.pool.is_shared is proves


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("500 X", b'{"errors":[{"error_number":1800}]}'),
        ("500 X", b'{"errors":[{"error_number":-1}]}'),
        ("500 X", b'{"errors":[]}'),
        ("511 X", b'{"errors":[{"error_number":1007}]}'),
        ("404 X", b"{}"),
        ("503 X", b"{}"),
    ],
)
async def test_a_failure_that_is_not_about_the_token_proves_nothing(
    status: str, body: bytes
) -> None:
    """On 20.11 that would make connections shared: so a good token must be served right after."""
    async with upstream(failing_for_all_but_good(status, body)) as (_, client):
        await client.ask()
        await probed(client)
        assert found(client) is None
        assert not client.pool.is_shared


async def test_a_slurmctld_that_is_away_for_the_bad_token_only_proves_nothing() -> None:
    """On 20.11 that looks like a refusal in everything but the time it takes."""

    async def play(wire: Wire) -> None:
        while (seen := await wire.request()) is not None:
            if seen.token == "not-a-token":
                await asyncio.sleep(0.6)
                await wire.send(answer(b'{"errors":[{"error_number":-1}]}', "500 X"))
                return
            await wire.send(answer())

    async with upstream(play, prompt_seconds=0.1) as (_, client):
        await client.ask()
        await probed(client)
        assert not client.pool.is_shared


async def test_a_probe_that_is_cut_off_proves_nothing_and_comes_back() -> None:
    async def play(wire: Wire) -> None:
        while (seen := await wire.request()) is not None:
            if seen.token == "not-a-token" and wire.number == 1:
                wire.reset()
                return
            await wire.send(checking_each_request(seen))

    async with upstream(play) as (_, client):
        await client.ask()
        await probed(client)
        assert found(client) is None
        client.slurmrestd._next_probe = 0.0
        await client.ask()
        await probed(client)
        assert found(client) is True


@pytest.mark.parametrize("version", ["", "v0.0.38"])
async def test_only_a_version_gives_a_place_to_probe(version: str) -> None:
    """GET /openapi names no version, and needs no good token."""
    async with upstream(answering(checking_each_request)) as (server, client):
        await client.ask(make_call("/openapi")._replace(version=version))
        if version:
            await probed(client)
        assert (client.slurmrestd._probing is not None or len(server.seen) > 1) is bool(version)


async def test_another_release_after_a_restart_finds_nothing_shared() -> None:
    """22.05 is replaced by 20.11 behind the same address: what was proved is proved no more."""
    async with upstream(answering(checking_each_request)) as (server, client):
        await client.ask(user="alice")
        await probed(client)
        await client.ask(user="bob")
        assert client.pool.is_shared
        await server.stop()
        await settled(lambda: not client.pool.is_shared)
        server.script, server.seen[:] = checking_once(), []
        await server.start()
        for user in ("alice", "bob", "alice"):
            assert await client.ask(user=user) == (200, b'{"for":"%b"}' % user.encode())
        assert all(len(users) == 1 for users in by_connection(server).values())


async def test_a_restart_that_nobody_was_connected_for_is_not_missed() -> None:
    """The witness stays open when all else has been closed for idleness, and dies with its server."""
    async with upstream(answering(checking_each_request), idle_seconds=0.1) as (server, client):
        await client.ask()
        await probed(client)
        await asyncio.sleep(1.0)
        assert (client.pool.unused, client.pool.opened, client.pool.is_shared) == (0, 1, True)
        await server.stop()
        await settled(lambda: not client.pool.is_shared)


async def test_a_proof_ends_when_no_connection_is_left_to_vouch_for_it() -> None:
    async with upstream(answering(checking_each_request), connections=2) as (_, client):
        await client.ask()
        await probed(client)
        await client.ask()
        await asyncio.gather(client.ask(), client.ask())  # the witness must make room
        assert client.pool._witness is None
        assert client.pool.is_shared
        shared = []
        for connection in list(client.pool._open):
            shared.append(client.pool.is_shared)
            connection.close()
            await asyncio.sleep(0.01)
        assert [*shared, client.pool.is_shared] == [True, True, False]
        assert found(client) is None


async def test_a_witness_that_must_go_during_the_probe_leaves_nothing_proved() -> None:
    gate = asyncio.Event()

    async def play(wire: Wire) -> None:
        while (seen := await wire.request()) is not None:
            if seen.token == "not-a-token":
                await gate.wait()
            await wire.send(checking_each_request(seen))

    async with upstream(play, connections=2) as (server, client):
        await client.ask()
        await settled(lambda: [seen for seen in server.seen if seen.token == "not-a-token"])
        await client.ask(user="bob")
        gate.set()
        await probed(client)
        assert found(client) is None
        assert not client.pool.is_shared


async def test_a_connection_of_an_older_generation_is_not_kept() -> None:
    """It was under way when another one broke: which slurmrestd it belongs to is not known."""
    gate = asyncio.Event()

    async def play(wire: Wire) -> None:
        while (seen := await wire.request()) is not None:
            if seen.user == "bob":
                await gate.wait()
            await wire.send(answer())

    async with upstream(play) as (_, client):
        client.pool.on_kept = lambda _connection, _lease: False
        waiting = asyncio.create_task(client.ask(user="bob"))
        await settled(lambda: client.pool.opened == 1)
        client.pool.lapse()
        gate.set()
        assert (await waiting)[0] == 200
        assert client.pool.unused == 0


async def test_a_release_that_is_away_is_probed_anew() -> None:
    async with upstream(answering(checking_each_request)) as (server, client):
        await client.ask()
        await probed(client)
        await server.stop()
        with pytest.raises(Denied):
            await client.ask()
        await server.start()
        client.slurmrestd._next_probe = 0.0
        await client.ask()
        await probed(client)
        assert found(client) is True
        assert [seen.token for seen in server.seen].count("not-a-token") == 2
