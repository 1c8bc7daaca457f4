"""An error that means "your credential is no good" is the gateway's fault, not the client's."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall
from tests.scripted_upstream import Seen, Wire, answer, answering
from tests.upstream_kit import (
    DIAG_PATH,
    READ,
    SUBMIT,
    checking_each_request,
    checking_each_request_2205,
    checking_once,
    make_grant,
    released,
    upstream,
)

ON_BOTH_LOOPS = True


@pytest.mark.parametrize(
    ("status", "call", "members"),
    [
        ("401 Unauthorized", READ, {}),
        ("401 Unauthorized", SUBMIT, {"outcome": "not-run"}),
        ("511 Network Authentication Required", READ, {}),
    ],
)
async def test_401_and_511_are_refusals_and_the_gateway_is_not_ready(
    status: str, call: AuthorizedCall, members: dict[str, str]
) -> None:
    async with upstream(answering(lambda _: answer(b"no", status))) as (server, client):
        with pytest.raises(Denied) as caught:
            await client.ask(call)
        assert (caught.value.reason, caught.value.members) == (Reason.CREDENTIAL_REFUSED, members)
        assert client.slurmrestd.state.is_credential_refused
        assert len(server.seen) == 1


async def test_on_2011_an_empty_500_is_a_refusal_if_diag_fails_too() -> None:
    async with upstream(checking_once()) as (server, client):
        with pytest.raises(Denied) as caught:
            await client.ask(token="forged")
        assert caught.value.reason is Reason.CREDENTIAL_REFUSED
        assert [seen.path for seen in server.seen] == ["/slurm/v0.0.38/jobs", DIAG_PATH]
        assert {seen.token for seen in server.seen} == {"forged"}


async def test_on_2205_an_unspecified_error_is_a_refusal_if_diag_fails_too() -> None:
    async with upstream(answering(checking_each_request_2205)) as (_, client):
        with pytest.raises(Denied) as caught:
            await client.ask(SUBMIT, token="forged", body=b"{}")
        assert caught.value.reason is Reason.CREDENTIAL_REFUSED
        assert caught.value.members == {"outcome": "unknown"}
        assert client.slurmrestd.state.is_credential_refused
        assert (await client.ask())[0] == 200
        assert not client.slurmrestd.state.is_credential_refused


@pytest.mark.parametrize("call", [READ, SUBMIT])
@pytest.mark.parametrize("status", ["401 X", "500 X"])
async def test_a_callers_own_token_that_is_refused_turns_nobody_elses_readiness(
    status: str, call: AuthorizedCall
) -> None:
    def play(seen: Seen) -> bytes:
        bad = seen.token == "forged"
        return answer(b'{"errors":[]}', status) if bad else answer(b"{}")

    async with upstream(answering(play)) as (_, client):
        for is_callers in (True, False):
            with pytest.raises(Denied) as caught:
                await client.ask(call, token="forged", body=b"{}", is_callers=is_callers)
            assert caught.value.reason is Reason.CREDENTIAL_REFUSED
            assert client.slurmrestd.state.is_credential_refused is not is_callers


def diag_says(reply: Callable[[], bytes], body: bytes) -> Callable[[Seen], bytes]:
    def play(seen: Seen) -> bytes:
        return reply() if seen.path == DIAG_PATH else answer(body, "500 X")

    return play


@pytest.mark.parametrize("body", [b'{"errors":[]}', b'{"errors":[{"error_number":-1}]}'])
@pytest.mark.parametrize(
    "diag",
    [answer(b"{}"), answer(b'{"errors":[{"error_number":1800}]}', "500 X"), answer(b"", "404 X")],
    ids=["diag works", "slurmctld is down", "no diag"],
)
async def test_an_odd_500_is_slurms_own_if_diag_does_not_refuse(body: bytes, diag: bytes) -> None:
    """On 20.11 an owner's update answers 500 although it was done."""
    async with upstream(answering(diag_says(lambda: diag, body))) as (_, client):
        grant = make_grant(SUBMIT, body=b"{}")
        found = await client.slurmrestd.send(grant)
        assert (found.head.status, found.whole) == (500, body)
        assert released(grant) == 1
        assert not client.slurmrestd.state.is_credential_refused


@pytest.mark.parametrize("slow_path", ["/slurm/v0.0.38/jobs", DIAG_PATH])
async def test_what_takes_its_time_is_no_refusal(slow_path: str) -> None:
    """Without a slurmctld, 20.11 and 22.05 answer as to a bad token, but after 9 s."""

    async def play(wire: Wire) -> None:
        seen = await wire.request()
        if seen is not None:
            await asyncio.sleep(1.2 if seen.path == slow_path else 0)
            await wire.send(answer(b'{"errors":[{"error_number":-1}]}', "500 X"))

    async with upstream(play, prompt_seconds=0.6) as (server, client):
        assert (await client.ask())[0] == 500
        assert len(server.seen) == (2 if slow_path == DIAG_PATH else 1)
        assert not client.slurmrestd.state.is_credential_refused


async def test_an_ordinary_500_needs_no_second_look() -> None:
    body = b'{"errors":[{"error_number":2002}]}'
    async with upstream(answering(lambda _: answer(body, "500 X"))) as (server, client):
        assert await client.ask() == (500, body)
        assert len(server.seen) == 1


async def test_diag_that_breaks_is_no_refusal() -> None:
    async def play(wire: Wire) -> None:
        seen = await wire.request()
        if seen is not None and seen.path != DIAG_PATH:
            await wire.send(answer(b'{"errors":[]}', "500 X"))
        wire.writer.close()

    async with upstream(play) as (_, client):
        assert (await client.ask())[0] == 500


async def test_a_second_look_stays_within_the_slot() -> None:
    """The slot is held while diag is asked, and given back whatever it says."""
    gate = asyncio.Event()

    async def play(wire: Wire) -> None:
        seen = await wire.request()
        if seen is not None and seen.path == DIAG_PATH:
            await gate.wait()
            await wire.send(checking_each_request(seen))
        else:
            await wire.send(answer(b'{"errors":[]}', "500 X"))

    async with upstream(play) as (_, client):
        grant = make_grant()
        asking = asyncio.create_task(client.slurmrestd.send(grant))
        await asyncio.sleep(0.05)
        assert released(grant) == 0
        gate.set()
        assert (await asking).head.status == 500
        assert released(grant) == 1
