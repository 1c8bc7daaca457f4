"""A scripted slurmrestd and the real client of it, ready to be used against each other."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from gateway.denial import Denied, Reason
from gateway.edges.slurmrestd import Slurmrestd
from gateway.edges.spool import SpooledBody
from gateway.edges.upstream_answer import Answer, Failure, UpstreamFailed, outcome
from gateway.edges.upstream_pool import Address, UpstreamPool
from gateway.model import Admission, AuthorizedCall, Grant, Risk, Secret, UpstreamCredential
from gateway.stages.forward import AnswerHead, Patience, read_head
from tests.fakes import FakeLease, make_call, make_identity, make_request, make_user
from tests.scripted_upstream import Script, ScriptedUpstream, Seen, Wire, answer

READ = make_call()
SUBMIT = make_call(
    "/slurm/{version}/job/submit", Risk.SUBMIT, "POST", changes_state=True, takes_body=True
)
CANCEL = make_call("/slurm/{version}/job/{job_id}", Risk.JOB_WRITE, "DELETE", changes_state=True)
DIAG_PATH = "/slurm/v0.0.38/diag"
GOOD_TOKENS = {"alice": "token-of-alice", "bob": "token-of-bob"}


def make_body(content: bytes) -> SpooledBody:
    whole = BytesIO(content)
    return SpooledBody(whole, len(content), hashlib.sha256(content).hexdigest(), whole.close)


def make_grant(
    call: AuthorizedCall = READ,
    user: str = "alice",
    token: str = "",
    body: bytes | None = None,
    *,
    is_callers: bool = False,
) -> Grant:
    """A granted request; its slot is a FakeLease."""
    request = make_request(method=call.operation.method)
    if body is not None:
        request = request._replace(media_type="application/json", length=len(body))
    admission = Admission(request, make_identity(subject=user), make_user(user), call, FakeLease())
    credential = UpstreamCredential(user, Secret(token or GOOD_TOKENS[user]), is_callers)
    return Grant(admission, None if body is None else make_body(body), credential, FakeLease())


def released(grant: Grant) -> int:
    """How often the slot was given back."""
    assert isinstance(grant.slot, FakeLease)
    return grant.slot.released


async def text_of(found: Answer) -> bytes:
    """The whole body, however it comes."""
    if found.whole is not None:
        return found.whole
    pieces = []
    while piece := await found.read():
        pieces.append(piece)
    return b"".join(pieces)


class Client:
    """The real client, and what a test wants to look at."""

    def __init__(self, url: str, **options: Any) -> None:
        address = Address.parse(url)
        patience = options.pop("patience", Patience(60, 60, 60))
        prompt_seconds = options.pop("prompt_seconds", 4.0)
        settings = {
            "connections": 8,
            "connect_seconds": 2.0,
            "idle_seconds": 30.0,
            "buffer_bytes": 8 << 20,
        }
        self.pool = UpstreamPool(address, **settings | options)
        self.slurmrestd = Slurmrestd(address, self.pool, patience, prompt_seconds)

    async def ask(self, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        """Send a grant and read its answer to the end."""
        found = await self.slurmrestd.send(make_grant(*args, **kwargs))
        return found.head.status, await text_of(found)


@asynccontextmanager
async def upstream(
    script: Script, **options: Any
) -> AsyncIterator[tuple[ScriptedUpstream, Client]]:
    """A scripted server and a client of it."""
    async with ScriptedUpstream(script, options.pop("path", "")) as server:
        client = Client(server.url, **options)
        try:
            yield server, client
        finally:
            await client.slurmrestd.close()


async def settled(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for something that happens in the background; fails if it does not."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # what is waited for knows no events
            await asyncio.sleep(0.002)


def checking_each_request(seen: Seen) -> bytes:
    """As 24.11: every request's own token decides, and the answer says for whom it is."""
    if GOOD_TOKENS.get(seen.user) != seen.token:
        return answer(b'{"errors":[{"error_number":1007}]}', "511 Network Authentication Required")
    return answer(b'{"for":"%b","path":"%b"}' % (seen.user.encode(), seen.path.encode()))


def checking_each_request_2205(seen: Seen) -> bytes:
    """As 22.05: the same with a 500."""
    if GOOD_TOKENS.get(seen.user) != seen.token:
        return answer(b'{"errors":[{"error_number":-1}]}', "500 Internal Server Error")
    return checking_each_request(seen)


def checking_once() -> Script:
    """As 20.11: the first request of a connection decides for all that follow on it."""

    async def play(wire: Any) -> None:
        owner = ""
        while (seen := await wire.request()) is not None:
            if not owner and GOOD_TOKENS.get(seen.user) != seen.token:
                await wire.send(answer(b'{"errors":[]}', "500 Internal Server Error"))
                return
            owner = owner or seen.user
            await wire.send(answer(b'{"for":"%b"}' % owner.encode()))

    return play


@dataclass
class Plan:
    """How slurmrestd behaves, for the fake and for a scripted server alike."""

    status: int = 200
    pieces: tuple[bytes, ...] = (b"{}",)
    breaks: bool = False
    """The connection ends before the last piece."""
    is_away: bool = False
    note: str = ""
    waits: asyncio.Event | None = None
    """The answer begins when this is set."""


def head_of(plan: Plan) -> AnswerHead:
    return read_head(answer(b"", f"{plan.status} X", length=sum(map(len, plan.pieces))))


class FakeUpstream:
    """slurmrestd by plan, without a socket; fills `gateway.web.visit.Upstream`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.grants: list[Grant] = []
        self.aborted = 0

    async def send(self, grant: Grant) -> Answer:
        plan, call = self.plan, grant.admission.call
        if plan.is_away:
            raise Denied(Reason.UPSTREAM_UNREACHABLE, members=outcome(call, "not-run"))
        self.grants.append(grant)
        if plan.waits is not None:
            await plan.waits.wait()
        if plan.status in (401, 511):
            raise Denied(Reason.CREDENTIAL_REFUSED, members=outcome(call, "not-run"))
        if len(plan.pieces) == 1 and not plan.breaks:
            grant.slot.release()
            whole = Answer(head_of(plan), plan.pieces[0])
            whole.note = plan.note
            return whole
        found = Answer(head_of(plan), None, _FakeSource(self), 1 << 20)
        for piece in plan.pieces[: -1 if plan.breaks else None]:
            found.feed(piece)
        if plan.breaks:
            found.fail(UpstreamFailed(Failure.CUT))
        else:
            found.finish(0.001)
            grant.slot.release()
        return found


class _FakeSource:
    def __init__(self, fake: FakeUpstream) -> None:
        self._fake = fake

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def abort(self) -> None:
        self._fake.aborted += 1


def playing(plan: Plan) -> Script:
    """The same plan on a socket."""

    async def play(wire: Wire) -> None:
        while await wire.request() is not None:
            if plan.waits is not None:
                await plan.waits.wait()
            length = sum(map(len, plan.pieces))
            await wire.send(answer(b"", f"{plan.status} X", length=length))
            for piece in plan.pieces[: -1 if plan.breaks else None]:
                await wire.send(piece)
                await asyncio.sleep(0.005)
            if plan.breaks or plan.status >= 400:
                return

    return play
