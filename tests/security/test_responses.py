"""tests/security/corpus/upstream_answers.toml -> one answer for one caller, or a failure that says so.

Classes 2, 4, 5, 26 and 32: whatever slurmrestd sends, the next user never sees a byte of it.
"""

import asyncio
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from gateway.denial import Denied
from gateway.edges.upstream_answer import UpstreamFailed
from gateway.stages.forward import Patience
from tests.examples import tried
from tests.scripted_upstream import Script, Seen, Wire, answer, answering
from tests.upstream_kit import (
    SUBMIT,
    Client,
    checking_each_request,
    make_grant,
    settled,
    text_of,
    upstream,
)

ON_BOTH_LOOPS = True

CASES = tomllib.loads((Path(__file__).parent / "corpus/upstream_answers.toml").read_text())[
    "answers"
]
BOBS = b'{"for":"bob"}'


def sent(case: dict[str, Any]) -> bytes:
    fill = case.get("fill", "") * case.get("fill_count", 0)
    return str(case["sent"]).replace("{fill}", fill).encode("latin-1")


def playing(case: dict[str, Any], *, by_byte: bool) -> Script:
    """Each connection answers its first request as the case says, and every later one to Bob."""

    async def play(wire: Wire) -> None:
        seen = await wire.request()
        while seen is not None:
            if seen.user == "bob":
                await wire.send(answer(BOBS))
            else:
                await (wire.send_by_byte if by_byte else wire.send)(sent(case))
                if case.get("ends"):
                    return
            seen = await wire.request()

    return play


async def outcome(client: Client, **options: Any) -> tuple[int, str] | str:
    """(status, body), a code, or "cut"."""
    try:
        found = await client.slurmrestd.send(make_grant(**options))
    except Denied as denied:
        return denied.reason.code
    try:
        return found.head.status, (await text_of(found)).decode("latin-1")
    except UpstreamFailed:
        return "cut"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
@pytest.mark.parametrize("by_byte", [False, True], ids=["whole", "by byte"])
async def test_an_answer_is_delivered_as_it_is_or_not_at_all(
    case: dict[str, Any], by_byte: bool
) -> None:
    if by_byte and case.get("whole_only"):
        by_byte = False
    wanted: tuple[int, str] | str = case.get("code") or "cut"
    if "status" in case:
        wanted = (case["status"], case["body"])
    async with upstream(playing(case, by_byte=by_byte), patience=Patience(60, 60, 60)) as (
        server,
        client,
    ):
        client.pool.on_kept = lambda _connection, _lease: False
        client.pool.share()  # so that only what happens here decides whether a connection is kept
        assert await outcome(client) == wanted
        assert await outcome(client, user="bob") == (200, BOBS.decode())
        bobs = server.seen[-1].connection
        assert (bobs == 1) == case.get("kept", False) or case.get("kept_by_byte", False)
        if case.get(
            "kept_by_byte"
        ):  # later bytes are noticed when they come, or before the next use
            assert await outcome(client, user="bob") == (200, BOBS.decode())


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if "code" in case or "cut" in case],
    ids=lambda case: case["why"],
)
async def test_a_write_that_gets_no_whole_answer_is_sent_once_and_said_to_be_unknown(
    case: dict[str, Any],
) -> None:
    async with upstream(playing(case, by_byte=False)) as (server, client):
        members = await members_of_failure(client)
        expected = "not-run" if case.get("code") == "credential-refused" else "unknown"
        assert members == (None if case.get("cut") else {"outcome": expected})
        assert len(server.seen) == 1


async def members_of_failure(client: Client) -> object:
    """What the problem document of a failed write says more; None if the answer broke off."""
    try:
        found = await client.slurmrestd.send(make_grant(SUBMIT, body=b"{}"))
    except Denied as denied:
        return denied.members
    with pytest.raises(UpstreamFailed):
        await text_of(found)
    return None


async def test_what_stays_behind_stays_behind() -> None:
    for case in CASES:
        if "canary" in case["sent"] or "Location" in case["sent"]:
            async with upstream(playing(case, by_byte=False)) as (_, client):
                found = await client.slurmrestd.send(make_grant())
                shown = repr(found.head.headers).lower()
                assert "canary" not in shown
                assert "location" not in shown


def slow_answer(seen: Seen) -> bytes:
    return answer(b"%b" % seen.user.encode() * 20_000)


async def cut_one(client: Client, user: str, delay: float, *, in_body: bool) -> None:
    """A client that goes away while it waits, or inside the answer."""
    sending = asyncio.ensure_future(client.slurmrestd.send(make_grant(user=user)))
    if in_body:
        found = await sending
        if found.whole is None:
            await found.read()
        found.close()
        return
    await asyncio.sleep(delay)
    if not sending.cancel():
        sending.result().close()
        return
    await asyncio.wait([sending])
    if not sending.cancelled() and sending.exception() is None:
        sending.result().close()


async def test_two_hundred_clients_cut_in_the_middle_leave_nothing_for_the_next_user() -> None:
    """Class 5: after each cut, another user must get exactly his own answer."""
    async with upstream(answering(slow_answer), connections=4) as (_, client):
        client.pool.on_kept = lambda _connection, _lease: False
        await client.ask(user="alice")
        client.pool.share()
        for number in range(200):
            await cut_one(client, "alice", number % 20 * 0.0001, in_body=number % 3 == 0)
            assert await client.ask(user="bob") == (200, b"bob" * 20_000)
            if not client.pool.is_shared:
                client.pool.share()


async def test_cuts_and_answers_at_once_never_mix() -> None:
    async with upstream(answering(slow_answer), connections=8) as (_, client):
        client.pool.on_kept = lambda _connection, _lease: False

        async def cutting() -> None:
            for number in range(60):
                await cut_one(client, "alice", number % 7 * 0.0003, in_body=number % 2 == 0)
                client.pool.share()

        async def reading(user: str) -> None:
            for _ in range(60):
                assert await client.ask(user=user) == (200, user.encode() * 20_000)

        await asyncio.gather(cutting(), cutting(), reading("bob"), reading("alice"), reading("bob"))


async def test_both_users_at_once_never_see_each_others_answers() -> None:
    async with upstream(answering(checking_each_request), connections=8) as (_, client):

        async def reading(user: str) -> None:
            for _ in range(100):
                status, text = await client.ask(user=user)
                assert (status, text.startswith(b'{"for":"%b"' % user.encode())) == (200, True)

        await asyncio.gather(*(reading(user) for user in ["alice", "bob"] * 4))


FRAGMENTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 404 NOT FOUND\r\n",
        b"HTTP/1.1 100 CONTINUE\r\n",
        b"HTTP/1.1 304 X\r\n",
        b"Content-Length: 2\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"X: y\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"{}",
        b"\x00",
        b"\n",
        b"2\r\n{}\r\n0\r\n\r\n",
    ]
)


@tried(150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(FRAGMENTS, max_size=8).map(b"".join), st.booleans())
def test_no_bytes_of_slurmrestd_reach_the_next_user(data: bytes, by_byte: bool) -> None:
    asyncio.run(_one_after_another(data, by_byte=by_byte))


async def _one_after_another(data: bytes, *, by_byte: bool) -> None:
    case = {"sent": data.decode("latin-1"), "ends": True}
    async with upstream(playing(case, by_byte=by_byte)) as (_, client):
        client.pool.on_kept = lambda _connection, _lease: False
        client.pool.share()
        await outcome(client)
        assert await outcome(client, user="bob") == (200, BOBS.decode())
        await settled(lambda: client.pool.opened <= 2)
