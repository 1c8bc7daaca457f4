"""Users share answers only while it is certain that Slurm hides nothing, and only what an unprivileged user sees."""

import asyncio

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.sharing import is_empty
from gateway.model import ClusterUser, Grant, Identity, Secret, UpstreamCredential
from tests.cache_world import CacheWorld, grant_for
from tests.fakes import make_call
from tests.upstream_kit import READ, SUBMIT, settled

EMPTY = b'{"slurm_conf":{"ClusterName":"lab","PrivateData":[]},"errors":[]}'
PRIVATE = EMPTY.replace(b"[]}", b'["JOBS"]}', 1)
ACCOUNTED = make_call("/slurmdb/{version}/jobs")


class Shared(CacheWorld):
    """Everybody shares what portal sees, as long as `conf` says so."""

    def __init__(self) -> None:
        super().__init__(share_as="portal", issue=self.issue)
        self.conf = EMPTY
        self.issues = True
        self.slurm.body = self.body

    async def issue(
        self, identity: Identity, user: ClusterUser, bearer: Secret | None
    ) -> UpstreamCredential:
        assert bearer is None
        if not self.issues:
            raise Denied(Reason.CREDENTIAL_UNAVAILABLE)
        return UpstreamCredential(user.name, Secret(f"minted-for-{user.name}"))

    def body(self, grant: Grant) -> bytes:
        if grant.admission.call.target.endswith(b"/conf"):
            return self.conf
        return f'{{"{grant.credential.user}":{len(self.asked)}}}'.encode()

    @property
    def asked(self) -> list[str]:
        """As whom slurmrestd was asked for anything but its configuration."""
        return [
            grant.credential.user
            for grant in self.slurm.sent
            if not grant.admission.call.target.endswith(b"/conf")
        ]


@pytest.fixture
def world() -> Shared:
    return Shared()


async def test_all_users_share_what_the_one_user_sees(world: Shared) -> None:
    for user in ("alice", "bob", "carol"):
        assert await world.text(grant_for(user)) == b'{"portal":1}'
    assert world.asked == ["portal"]
    world.assert_nothing_is_held()


async def test_users_who_ask_at_once_share_a_flight_too(world: Shared) -> None:
    await world.text()
    world.clock.advance(2)
    world.slurm.hold = asyncio.Event()
    asking = [asyncio.create_task(world.text(grant_for(user))) for user in ("alice", "bob") * 5]
    await settled(lambda: len(world.asked) == 2)
    world.slurm.hold.set()
    assert set(await asyncio.gather(*asking)) == {b'{"portal":2}'}


async def test_ones_own_write_shows_and_costs_the_others_nothing(world: Shared) -> None:
    await world.text()
    await world.ask(grant_for("bob", SUBMIT))
    assert world.asked == ["portal", "bob"]
    assert await world.text(grant_for("alice")) == b'{"portal":1}'
    assert await world.text(grant_for("bob")) == b'{"portal":3}'


@pytest.mark.parametrize(
    ("grant", "user"),
    [
        (grant_for(call=ACCOUNTED), "alice"),
        (grant_for(own_token="of-alice-herself"), "alice"),
    ],
    ids=["accounting", "own token"],
)
async def test_the_accounting_and_tokens_of_callers_are_never_shared(
    world: Shared, grant: Grant, user: str
) -> None:
    await world.text()
    await world.text(grant)
    assert world.asked == ["portal", user]


async def test_whoever_sees_own_jobs_alone_gets_them_out_of_what_is_shared(world: Shared) -> None:
    world.slurm.body = lambda grant: (
        EMPTY
        if grant.admission.call.target.endswith(b"/conf")
        else b'{"jobs":[{"job_id":1,"user_name":"alice"},{"job_id":2,"user_name":"bob"}]}'
    )
    call = READ._replace(own_jobs_only=True)
    for user, other in (("alice", b"bob"), ("bob", b"alice"), ("alice", b"bob")):
        body = await world.text(grant_for(user, call))
        assert user.encode() in body
        assert other not in body
    assert world.asked == ["portal"]


async def test_sharing_ends_when_slurm_says_that_something_is_private(world: Shared) -> None:
    await world.text()
    world.conf = PRIVATE
    world.clock.advance(60)
    assert await world.text() == b'{"alice":2}'
    assert await world.text(grant_for("bob")) == b'{"bob":3}'
    world.conf = EMPTY
    world.clock.advance(10)
    assert await world.text(grant_for("bob")) == b'{"portal":4}'


async def test_it_is_looked_at_once_a_minute(world: Shared) -> None:
    for _ in range(120):
        await world.text()
        world.clock.advance(1.0)
    assert len(world.slurm.sent) - len(world.asked) == 2


@pytest.mark.parametrize("doubt", ["error", "token", "garbage"])
async def test_any_doubt_ends_it(world: Shared, doubt: str) -> None:
    if doubt == "token":
        world.issues = False
    elif doubt == "garbage":
        world.conf = b"{}"
    else:
        usual = world.slurm.send

        async def send(grant: Grant) -> object:
            if grant.admission.call.target.endswith(b"/conf"):
                raise Denied(Reason.UPSTREAM_TIMEOUT)
            return await usual(grant)

        world.slurm.send = send  # type: ignore[method-assign, assignment]  # one call fails
    assert await world.text() == b'{"alice":1}'
    assert await world.text(grant_for("bob")) == b'{"bob":2}'
    world.assert_nothing_is_held()


@pytest.mark.parametrize(
    ("status", "body", "empty"),
    [
        (200, EMPTY, True),
        (404, b"Unable find requested URL", True),
        (200, PRIVATE, False),
        (200, b'{"slurm_conf":{}}', False),
        (200, b'{"slurm_conf":{"PrivateData":null}}', False),
        (200, b'{"slurm_conf":{"PrivateData":""}}', False),
        (200, b'{"slurm_conf":[]}', False),
        (200, b"[]", False),
        (200, b"", False),
        (500, EMPTY, False),
        (403, b"", False),
    ],
)
def test_only_an_empty_list_is_empty_and_where_nobody_can_tell_the_sites_word_stands(
    status: int, body: bytes, empty: bool
) -> None:
    assert is_empty(status, body) is empty
