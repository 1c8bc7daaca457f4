"""Documents in front of a slurmrestd that a test scripts: fetched once, cut, tagged, refused."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import yaml

from gateway.denial import Denied, Reason
from gateway.edges.openapi_documents import FORMS, OpenapiDocuments, Terms
from gateway.edges.upstream_answer import Answer
from gateway.model import Admission, Grant, Identity, Lease, Risk
from gateway.openapi.own_part import Publisher
from gateway.stages.cache import has_tag
from gateway.stages.forward import own_head
from tests.fakes import FakeClock, FakeLease, make_call
from tests.unit.openapi.documents import document, raw
from tests.upstream_kit import READ, make_grant, released

JOBS = "/slurm/v0.0.42/jobs"
DOCUMENT = make_call("/openapi/v3", Risk.READ_HEAVY)


@dataclass
class Slurm:
    """slurmrestd and its slots."""

    body: bytes = field(default_factory=raw)
    status: int = 200
    error: Denied | None = None
    sent: list[Grant] = field(default_factory=list)
    hold: asyncio.Event | None = None
    leases: list[FakeLease] = field(default_factory=list)

    async def send(self, grant: Grant) -> Answer:
        self.sent.append(grant)
        if self.hold is not None:
            await self.hold.wait()
        if self.error is not None:
            raise self.error
        return Answer(own_head(self.status, len(self.body), ()), self.body)

    async def acquire(self, identity: Identity) -> Lease:
        self.leases.append(FakeLease())
        return self.leases[-1]


class Permissions:
    """The roles of a user are their name; who is called alice may read jobs."""

    def roles_of(self, admission: Admission) -> tuple[str, ...]:
        return (admission.user.name,)

    def permitted(self, method: str, path: str, roles: tuple[str, ...]) -> frozenset[str] | None:
        return frozenset() if (path == JOBS) is ("alice" in roles) else None


class World:
    def __init__(self) -> None:
        self.slurm = Slurm()
        self.clock = FakeClock()
        self.generation = 1
        self.publisher = Publisher("https://slurm.example.org", "lab", ())
        terms = Terms(600.0, lambda: self.generation, self._publish, (), self.clock)
        self.documents = OpenapiDocuments(self.slurm, self.slurm, Permissions(), terms)

    async def _publish(self) -> Publisher:
        return self.publisher

    async def ask(self, user: str = "alice", path: str = "/openapi/v3", **request: Any) -> Answer:
        grant = grant_for(user, path, **request)
        answer = await self.documents.send(grant)
        assert released(grant) >= 1
        return answer

    async def paths(self, user: str = "alice") -> list[str]:
        return list(orjson.loads((await self.ask(user)).whole or b"")["paths"])


def grant_for(user: str, path: str = "/openapi/v3", **request: Any) -> Grant:
    grant = make_grant(make_call(path, Risk.READ_HEAVY), user)
    admission = grant.admission
    return grant._replace(
        admission=admission._replace(request=admission.request._replace(**request))
    )


@pytest.fixture
def world() -> World:
    return World()


async def test_everybody_is_answered_with_their_own_document_and_slurmrestd_is_asked_once(
    world: World,
) -> None:
    assert await world.paths("alice") == [JOBS]
    assert JOBS not in await world.paths("bob")
    assert await world.paths("alice") == [JOBS]
    (sent,) = world.slurm.sent
    assert sent.admission.call.target == b"/openapi/v3"
    assert sent.admission.request.accept == "application/json"
    assert [lease.released for lease in world.slurm.leases] == [1]


async def test_other_calls_go_on_to_slurmrestd(world: World) -> None:
    grant = make_grant(READ)
    assert (await world.documents.send(grant)).whole == world.slurm.body
    assert world.slurm.sent == [grant]
    assert released(grant) == 0


async def test_those_who_ask_at_once_share_a_flight(world: World) -> None:
    world.slurm.hold = asyncio.Event()
    asking = [asyncio.create_task(world.ask(user)) for user in ("alice", "bob", "alice")]
    await asyncio.sleep(0.01)
    asking[0].cancel()
    world.slurm.hold.set()
    answers = await asyncio.gather(*asking[1:])
    assert len(world.slurm.sent) == 1
    assert answers[0].whole != answers[1].whole


@pytest.mark.parametrize(
    ("change", "times"),
    [
        (lambda world: world.clock.advance(599), 1),
        (lambda world: world.clock.advance(600), 2),
        (lambda world: setattr(world, "generation", 2), 2),
    ],
    ids=["young", "old", "slurmrestd may be another"],
)
async def test_slurmrestd_is_asked_again_when_it_may_say_something_else(
    world: World, change: Callable[[World], None], times: int
) -> None:
    assert await world.paths() == [JOBS]
    change(world)
    paths = document()["paths"]
    world.slurm.body = raw(paths={**paths, "/slurm/v0.0.42/more": {}, "/x": paths[JOBS]})
    assert ("/x" in await world.paths("bob")) is (times == 2)
    assert len(world.slurm.sent) == times


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 200), (b"{}", 200), (raw(), 500), (b"no" * 9, 404), (raw(), 204)]
)
async def test_a_document_that_cannot_be_used_is_an_error_and_never_goes_out(
    world: World, body: bytes, status: int
) -> None:
    world.slurm.body, world.slurm.status = body, status
    with pytest.raises(Denied) as refused:
        await world.ask()
    assert refused.value.reason is Reason.UPSTREAM_INVALID
    assert refused.value.note.startswith("OpenAPI document: ")
    world.slurm.body, world.slurm.status = raw(), 200
    assert await world.paths() == [JOBS]


async def test_what_keeps_slurmrestd_from_answering_is_said(world: World) -> None:
    world.slurm.error = Denied(Reason.UPSTREAM_UNREACHABLE)
    with pytest.raises(Denied) as refused:
        await world.ask()
    assert refused.value.reason is Reason.UPSTREAM_UNREACHABLE
    assert [lease.released for lease in world.slurm.leases] == [1]


async def test_a_callers_own_bad_token_fails_nobody_else(world: World) -> None:
    world.slurm.hold = asyncio.Event()
    own = make_grant(DOCUMENT, "alice", is_callers=True)
    tasks = [asyncio.create_task(world.ask("bob"))]
    tasks.append(asyncio.create_task(world.documents.send(own)))
    await asyncio.sleep(0.01)
    assert len(world.slurm.sent) == 2
    world.slurm.hold.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("path", list(FORMS))
@pytest.mark.parametrize("accept", ["application/json", "application/x-yaml"])
async def test_the_address_or_what_is_accepted_says_the_form(
    world: World, path: str, accept: str
) -> None:
    answer = await world.ask(path=path, accept=accept)
    is_yaml = path.endswith("yaml") or (accept.endswith("yaml") and not path.endswith("json"))
    headers = dict(answer.head.headers)
    kind = b"application/yaml" if is_yaml else b"application/json"
    assert headers[b"content-type"] == kind
    whole = answer.whole or b""
    assert (yaml.safe_load(whole) if is_yaml else orjson.loads(whole))["paths"].keys() == {JOBS}
    assert headers[b"content-length"] == b"%d" % len(whole)
    assert headers[b"cache-control"] == b"private, no-cache"


async def test_who_has_the_document_is_told_so(world: World) -> None:
    tag = dict((await world.ask()).head.headers)[b"etag"].decode()
    again = await world.ask(if_none_match=f'"old", W/{tag}')
    assert (again.head.status, again.whole) == (304, b"")
    assert dict(again.head.headers)[b"etag"] == tag.encode()
    assert b"content-length" not in again.head.lines
    assert (await world.ask("bob", if_none_match=tag)).head.status == 200


@pytest.mark.parametrize(
    ("field", "expected"),
    [("", False), ('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ("a", False)],
)
def test_tags_are_compared_weakly(field: str, expected: bool) -> None:
    assert has_tag(field, '"a"') is expected


async def test_another_publisher_is_another_document(world: World) -> None:
    await world.ask()
    world.publisher = Publisher("https://elsewhere.example.org", "lab", ())
    made = orjson.loads((await world.ask()).whole or b"")
    assert made["servers"] == [{"url": "https://elsewhere.example.org"}]
    assert len(world.slurm.sent) == 1


async def test_what_is_remembered_is_bounded(world: World) -> None:
    for number in range(40):
        world.publisher = Publisher("https://slurm.example.org", f"lab{number}", ())
        await world.ask()
    assert len(world.documents._made) == 16
