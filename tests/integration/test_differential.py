"""Whatever receive and authorize admit, the real slurmrestd chooses the very operation that was decided on."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pytest

from gateway.denial import Denied
from gateway.edges.upstream_answer import UpstreamFailed
from gateway.edges.upstream_pool import Address
from gateway.model import AuthorizedCall, ClusterUser, Risk, Secret, UpstreamCredential
from gateway.slurm_api import read_catalogue
from gateway.slurm_api.policy import parse_policy
from gateway.stages.authorize import Authorize
from gateway.stages.forward import RequestHead
from gateway.stages.receive import Receive
from lab.slurm import SlurmRelease
from tests.fakes import make_identity
from tests.integration.differential_targets import CORPUS, Case, cases
from tests.integration.talking_slurmrestd import Choice, TalkingSlurmrestd, talking
from tests.integration.test_catalogue import rows_of_extract
from tests.measured import note
from tests.roles import Rules
from tests.upstream_kit import Client, make_body, text_of

pytestmark = pytest.mark.real

EVERYTHING = Rules(allow=tuple(Risk))
HOST = [(b"host", b"gateway.example")]
UNREADABLE = b"{"
"""Where an operation takes a body, so that slurmrestd chooses it and can do nothing."""
READER, WRITER = "alice", "dave"
"""Slurm knows no dave: whatever state-changing call he makes reaches no one's jobs."""
AT_ONCE = 3
PATIENCE_SECONDS = 60.0
NOT_FOUND = 404


class Gate:
    """The two stages that decide which operation is asked for, with every class allowed."""

    def __init__(self) -> None:
        self._receive = Receive()
        catalogue = read_catalogue()
        policy, problems = parse_policy({"user": EVERYTHING}, catalogue)
        assert problems == []
        self._authorize = Authorize(catalogue, policy)

    def __call__(self, case: Case) -> AuthorizedCall | None:
        """None for what is refused."""
        try:
            request = self._receive(case.method, case.raw, HOST, "192.0.2.1", "id")
            return self._authorize(request, make_identity(), ClusterUser(READER, ("user",)))
        except Denied:
            return None


@dataclass
class Comparison:
    """What came of the cases that were sent."""

    ran: Counter[str] = field(default_factory=Counter)
    idle: int = 0
    """Nothing ran: the release has no such operation or takes no such id, and said 404."""
    differences: list[str] = field(default_factory=list)


@dataclass
class Judge:
    """One slurmrestd, and which operations its own document has."""

    served: set[tuple[str, str]]
    comparison: Comparison

    def __call__(self, case: Case, call: AuthorizedCall, status: int, said: Choice | None) -> None:
        operation = call.operation
        template = template_of(call)
        decided = f"{operation.method} {template}"
        if said is None or not said.template:
            if self.is_served(call) and status != NOT_FOUND:
                self._differs(case, call, f"nothing was chosen, status {status}")
            else:
                self.comparison.idle += 1
        elif (said.method, said.template) != (operation.method, template):
            self._differs(case, call, f"{said.method} {said.template} was chosen")
        elif segments_of(call) != [as_text(segment) for segment in said.segments]:
            self._differs(case, call, f"the path was read as {said.segments}")
        else:
            self.comparison.ran[decided] += 1

    def is_served(self, call: AuthorizedCall) -> bool:
        return (call.operation.method, template_of(call)) in self.served

    def ended(self, case: Case, call: AuthorizedCall) -> None:
        self._differs(case, call, "slurmrestd ended")

    def _differs(self, case: Case, call: AuthorizedCall, how: str) -> None:
        self.comparison.differences.append(
            f"{case.method} {case.raw!r} ({case.made_by}) went out as {call.target!r}"
            f" for {call.operation.name} in {call.version}: {how}"
        )


def template_of(call: AuthorizedCall) -> str:
    before, brace, rest = call.operation.template.replace("{version}", call.version).partition("{")
    return f"{before}{{}}{rest.partition('}')[2]}" if brace else before


def segments_of(call: AuthorizedCall) -> list[str]:
    """Of the path that was decided on. The gateway's own encoding is undone by nobody but slurmrestd."""
    return [unquote(s) for s in call.target.decode().partition("?")[0].split("/")[1:]]


def as_text(segment: Any) -> str:
    """slurmrestd turns what looks like a number into one; it has to be one that is written the same."""
    return segment if isinstance(segment, str) else json.dumps(segment)


class Caller:
    """The gateway's own head on a new connection each time, so that nothing else is asked in between."""

    def __init__(self, daemon: TalkingSlurmrestd, release: SlurmRelease) -> None:
        self.client = Client(daemon.url)
        self._head = RequestHead(Address.parse(daemon.url).host_header)
        self._credentials = {
            user: UpstreamCredential(user, Secret(release.token(user, 3600)))
            for user in (READER, WRITER)
        }

    async def __call__(self, call: AuthorizedCall) -> int:
        """The answer's status, 0 where none came."""
        credential = self._credentials[WRITER if call.operation.changes_state else READER]
        body = make_body(UNREADABLE) if call.operation.takes_body else None
        media_type, length = ("application/json", body.length) if body else ("", None)
        head = self._head(call, credential, media_type=media_type, length=length)
        connection = await self.client.pool.open((credential.user, credential.token.reveal))
        try:
            found = await connection.exchange(head, body, PATIENCE_SECONDS)
            await text_of(found)
        except UpstreamFailed:
            return 0
        finally:
            connection.close()
        return found.head.status


async def compare(
    shard: list[tuple[Case, AuthorizedCall]],
    daemon: TalkingSlurmrestd,
    release: SlurmRelease,
    judge: Judge,
) -> None:
    """One after another, so that what is said belongs to what was asked."""
    caller = Caller(daemon, release)
    for case, call in shard:
        number = len(daemon.choices)
        status = await caller(call)
        if not status and await asyncio.to_thread(daemon.has_ended):
            judge.ended(case, call)
            await asyncio.to_thread(again, daemon)
            continue
        served = judge.is_served(call) and status != NOT_FOUND
        said = await asyncio.to_thread(daemon.choice, number, needs_handler=served)
        judge(case, call, status, said)
        assert len(daemon.choices) <= number + 1
    await caller.client.slurmrestd.close()


def again(daemon: TalkingSlurmrestd) -> None:
    """So that one request that ends it hides no other."""
    daemon.stop()
    daemon.start()
    daemon.await_start()


def served_by(release: SlurmRelease) -> tuple[list[int], set[tuple[str, str]]]:
    """The API versions, and the operations as the release's own document has them."""
    versions, operations = set(), set()
    for method, path, version, _, _ in rows_of_extract(release.release.slurm):
        text = "" if version == "-" else f"v0.0.{version}"
        before, brace, rest = path.replace("*", text).partition("{")
        operations.add((method, f"{before}{{}}{rest.partition('}')[2]}" if brace else before))
        if version != "-":
            versions.add(int(version))
    return sorted(versions), operations


async def run(release: SlurmRelease, wanted: int) -> tuple[int, int, Comparison]:
    versions, served = served_by(release)
    made = cases(versions, wanted)
    assert len(made) == wanted
    gate, comparison = Gate(), Comparison()
    admitted = [(case, call) for case in made if (call := gate(case)) is not None]
    with talking(release, AT_ONCE) as daemons:
        shards = [admitted[first::AT_ONCE] for first in range(AT_ONCE)]
        judge = Judge(served, comparison)
        work = zip(shards, daemons, strict=True)
        await asyncio.gather(*(compare(shard, one, release, judge) for shard, one in work))
    note(
        f"differential-{release.release.slurm}",
        cases=len(made),
        admitted=len(admitted),
        operations=len(comparison.ran),
        idle=comparison.idle,
        failures=len(comparison.differences),
    )
    return len(served), len(admitted), comparison


async def test_3_what_is_admitted_runs_as_what_it_was_decided_to_be(
    slurm_release: SlurmRelease,
) -> None:
    """The short form."""
    wanted = CORPUS["short_cases"]
    _, admitted, comparison = await run(slurm_release, wanted)
    assert comparison.differences == []
    assert admitted > wanted // 6


@pytest.mark.long
async def test_3_and_so_do_five_thousand_targets(slurm_release: SlurmRelease) -> None:
    wanted = CORPUS["cases"]
    served, admitted, comparison = await run(slurm_release, wanted)
    assert comparison.differences == []
    assert wanted >= 5000
    assert admitted > wanted // 6
    assert (
        len(comparison.ran) > served * 0.9
    )  # nearly everything that the release has was asked for
