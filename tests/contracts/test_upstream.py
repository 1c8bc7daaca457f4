"""What every upstream keeps: whole answers or a failure that says so, and the slot given back in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.upstream_answer import UpstreamFailed
from gateway.model import AuthorizedCall
from gateway.web.serving import Upstream
from tests.upstream_kit import (
    CANCEL,
    READ,
    SUBMIT,
    Client,
    FakeUpstream,
    Plan,
    make_grant,
    playing,
    released,
    settled,
    text_of,
    upstream,
)

ON_BOTH_LOOPS = True


@pytest.fixture(params=["fake", "tcp", "unix"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def opened(
    kind: str, plan: Plan, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Upstream]:
    """The fake, or the real client of a server that plays the same plan."""
    if kind == "fake":
        yield FakeUpstream(plan)
        return
    path = str(tmp_path_factory.mktemp("socket") / "rest.sock") if kind == "unix" else ""
    async with AsyncExitStack() as stack:
        if plan.is_away:
            client = Client("unix:/nonexistent/rest.sock" if path else "http://127.0.0.1:9")
        else:
            _, client = await stack.enter_async_context(upstream(playing(plan), path=path))
        client.pool.on_kept = lambda _connection, _lease: False
        yield client.slurmrestd


@pytest.mark.parametrize("pieces", [(b"{}",), (b"a", b"b", b"c"), (b"",), (b"x" * 400_000,) * 4])
@pytest.mark.parametrize("status", [200, 204, 304, 404, 422, 500])
async def test_an_answer_is_whole_and_the_slot_is_free(
    kind: str, status: int, pieces: tuple[bytes, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    if status in (204, 304):
        pieces = (b"",)
    async with opened(kind, Plan(status, pieces), tmp_path_factory) as upstream:
        grant = make_grant()
        found = await upstream.send(grant)
        assert found.head.status == status
        assert await text_of(found) == b"".join(pieces)
        assert found.is_over
        assert not found.is_arriving
        await settled(lambda: released(grant) >= 1)


async def test_an_answer_that_breaks_off_never_looks_whole(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with opened(kind, Plan(pieces=(b"a", b"b"), breaks=True), tmp_path_factory) as upstream:
        found = await upstream.send(make_grant())
        assert found.whole is None
        with pytest.raises(UpstreamFailed):
            await text_of(found)
        assert not found.is_over


@pytest.mark.parametrize(
    ("call", "members"),
    [(READ, {}), (SUBMIT, {"outcome": "not-run"}), (CANCEL, {"outcome": "not-run"})],
)
async def test_what_was_not_sent_is_said_not_to_have_run(
    kind: str,
    call: AuthorizedCall,
    members: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with opened(kind, Plan(is_away=True), tmp_path_factory) as upstream:
        with pytest.raises(Denied) as caught:
            await upstream.send(make_grant(call))
        assert (caught.value.reason, caught.value.members) == (
            Reason.UPSTREAM_UNREACHABLE,
            members,
        )


@pytest.mark.parametrize("status", [401, 511])
async def test_a_refused_credential_is_a_refusal_of_ours(
    kind: str, status: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with opened(kind, Plan(status), tmp_path_factory) as upstream:
        with pytest.raises(Denied) as caught:
            await upstream.send(make_grant(SUBMIT, body=b"{}"))
        assert caught.value.reason is Reason.CREDENTIAL_REFUSED
        assert caught.value.members == {"outcome": "not-run"}


async def test_a_wait_can_be_cut_and_the_next_answer_is_the_next_ones(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plan = Plan(pieces=(b"first",), waits=asyncio.Event())
    async with opened(kind, plan, tmp_path_factory) as upstream:
        waiting = asyncio.ensure_future(upstream.send(make_grant()))
        await asyncio.sleep(0.02)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert waiting.cancelled()
        plan.pieces, plan.waits = (b"second",), None
        assert await text_of(await upstream.send(make_grant(user="bob"))) == b"second"


async def test_an_answer_may_be_closed_at_any_time(
    kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async with opened(kind, Plan(pieces=(b"a" * 300_000,) * 30), tmp_path_factory) as upstream:
        for reads in range(3):
            found = await upstream.send(make_grant())
            for _ in range(reads):
                await found.read()
            found.close()
            found.close()
