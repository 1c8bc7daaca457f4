"""The same requests with rides and without: the same answers, records and bytes to slurmrestd."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import fields, replace
from typing import Any, NamedTuple

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.slots import FairSlots
from gateway.model import AuditRecord
from gateway.stages.forward import Patience
from tests.scripted_upstream import Script, Seen, Wire, answer
from tests.unit.web.test_proxy_on_the_wire import GET, Caller, Gateway, gateway
from tests.upstream_kit import settled

ON_BOTH_LOOPS = True
OWN = {"request_id", "time", "upstream_seconds", "total_seconds", "request"}
"""What is another for each request, or looked at apart."""
CLOSED: tuple[int, dict[str, str], bytes] = (0, {}, b"")


class Step(NamedTuple):
    """A request as sent, what slurmrestd answers, and what fails in the gateway."""

    reply: bytes
    data: bytes = GET
    fails: dict[str, BaseException] = {}  # noqa: RUF012 (nobody writes to it)
    has_answer: bool = True


def with_field(line: bytes) -> bytes:
    return GET.replace(b"\r\n\r\n", b"\r\n" + line + b"\r\n\r\n")


OK = answer(b'{"n":1}')
PLAYS: dict[str, list[Step]] = {
    "plain": [Step(answer(b'{"n":%d}' % n)) for n in range(5)],
    "no content": [Step(OK), Step(answer(b"")), Step(OK)],
    "more to say": [Step(OK), Step(answer(b"{}", extra=b"X-Odd: 1\r\nETag: a\r\n")), Step(OK)],
    "large": [Step(OK), Step(answer(b"x" * 3_000_000)), Step(OK)],
    "errors": [
        step
        for status in ("400 BAD", "404 NOT FOUND", "500 ERROR", "503 BUSY", "599 ODD")
        for step in (Step(OK), Step(answer(b'{"errors":[]}', status)), Step(OK))
    ],
    "refused credential": [Step(OK), Step(answer(b"", "401 NO")), Step(OK)],
    "redirected": [
        Step(OK),
        Step(answer(b"", "302 FOUND", b"Location: http://evil\r\n")),
        Step(OK),
    ],
    "not modified": [Step(OK), Step(b"HTTP/1.1 304 NOT MODIFIED\r\n\r\n", has_answer=False)],
    "no length": [Step(OK), Step(b"HTTP/1.1 200 OK\r\n\r\n{}"), Step(OK)],
    "rubbish": [Step(OK), Step(b"rubbish\r\n\r\n"), Step(OK)],
    "interim": [Step(OK), Step(b"HTTP/1.1 100 Continue\r\n\r\n" + OK), Step(OK)],
    "said twice": [Step(OK), Step(OK + OK), Step(OK)],
    "ends behind it": [Step(OK), Step(answer(b"{}", extra=b"Connection: close\r\n")), Step(OK)],
    "breaks off": [Step(OK), Step(answer(b"x" * 1000, length=5000), has_answer=False)],
    "silent": [Step(OK), Step(b""), Step(OK)],
    "no rate left": [
        Step(OK),
        Step(OK, fails={"limit": Denied(Reason.RATE_EXCEEDED, "50", rule="limit.rates.read")}),
        Step(OK),
    ],
    "no audit": [Step(OK), Step(OK, fails={"open": Denied(Reason.AUDIT_UNAVAILABLE)}), Step(OK)],
    "audit fault": [Step(OK), Step(OK, fails={"open": RuntimeError()}), Step(OK)],
    "limit fault": [Step(OK), Step(OK, fails={"limit": RuntimeError()}), Step(OK)],
    "last": [Step(OK), Step(OK), Step(OK, with_field(b"Connection: close"))],
    "old": [Step(OK), Step(OK), Step(OK, GET.replace(b"HTTP/1.1", b"HTTP/1.0"))],
    "expects": [Step(OK)] + [Step(OK, with_field(b"Expect: 100-continue"))] * 3,
    "other types": [
        step
        for kind in (b"application/json", b"text/html", b"*/*", b"application/yaml")
        for step in [Step(OK, with_field(b"Accept: " + kind))] * 3
    ],
    "empty line": [Step(OK), Step(OK, b"\r\n" + GET), Step(OK)],
    "other methods": [Step(OK), Step(OK), Step(OK, GET.replace(b"GET", b"DELETE"))],
    "no token": [Step(OK)] * 2 + [Step(OK, GET.replace(b"Authorization", b"X-Other"))] * 3,
    "for others": [Step(OK)] + [Step(OK, with_field(b"X-Forwarded-For: 192.0.2.1"))] * 3,
}


NEVER_RIDE = {"expects"}


def playing(replies: list[bytes]) -> Script:
    """What each request gets on whichever connection; what is no good answer is the last on its own."""

    async def play(wire: Wire) -> None:
        while await wire.request() is not None:
            reply = replies.pop(0) if replies else OK
            await wire.send(reply)
            if not reply:
                await wire.ended()
            if not reply.startswith(b"HTTP/1.1 2") or b"length" not in reply.lower():
                return
            if b"Connection: close" in reply or (len(reply) < 5000 and b" 5000\r\n" in reply):
                return

    return play


class Outcome(NamedTuple):
    """What became of a play."""

    answers: list[tuple[int, dict[str, str], bytes]]
    records: list[dict[str, Any]]
    sent: list[tuple[bytes, str]]
    rides: int


def comparable(record: AuditRecord) -> dict[str, Any]:
    known = {one.name: getattr(record, one.name) for one in fields(record) if one.name not in OWN}
    request = record.request
    known["request"] = None if request is None else repr(request[1:])
    known["identity"] = record.identity and record.identity.key
    known["was_timed"] = record.upstream_seconds > 0
    return known


@asynccontextmanager
async def a_gateway(steps: list[Step], *, rides: bool) -> AsyncIterator[Gateway]:
    replies = [step.reply for step in steps if reaches_slurm(step)]
    seats, patience = FairSlots(8, 100, 5.0), Patience(1, 1, 1)
    async with gateway(playing(replies), seats=seats, patience=patience) as at:
        if not rides:
            at.world.serving = replace(at.world.serving, express=None)
        yield at


def reaches_slurm(step: Step) -> bool:
    return not step.fails and b"text/html" not in step.data and b"HTTP/1.0" not in step.data


async def step_through(steps: list[Step], *, rides: bool) -> Outcome:
    async with a_gateway(steps, rides=rides) as at:
        answers = []
        caller = await at.call()
        for step in steps:
            at.world.fails = step.fails
            caller.writer.write(step.data)
            answers.append(await answer_to(caller, has_answer=step.has_answer))
            if answers[-1] is CLOSED or answers[-1][1].get("connection") == "close":
                caller = await at.call()
        await settled(lambda: at.world.ended >= len(at.world.records))
        at.world.fails = {}
        records = [comparable(record) for record in at.world.records]
        sent = [(without_port(seen), seen.user) for seen in at.server.seen]
        return Outcome(answers, records, sent, at.rides)


def without_port(seen: Seen) -> bytes:
    return b"\r\n".join(line for line in seen.head.split(b"\r\n") if not line.startswith(b"Host"))


async def answer_to(caller: Caller, *, has_answer: bool) -> tuple[int, dict[str, str], bytes]:
    if not has_answer:  # cut short, or without a length: as many bytes as there are
        rest = b""
        while True:
            try:
                rest += await asyncio.wait_for(caller.reader.readexactly(1), 1)
            except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
                break
        head, _, body = rest.partition(b"\r\n\r\n")
        names = {line.split(b":")[0].decode(): "" for line in head.split(b"\r\n")[1:]}
        return int(head.split(b" ")[1]), names | {"connection": "close"}, body
    try:
        status, headers, body = await asyncio.wait_for(caller.answer(), 60)
    except (asyncio.IncompleteReadError, ConnectionError):
        return CLOSED
    request_id = headers.pop("x-request-id")
    headers.pop("date", None)
    return status, headers, body.replace(request_id.encode(), b"ID")


@pytest.mark.parametrize("name", PLAYS)
async def test_a_ride_is_not_told_from_a_visit(name: str) -> None:
    steps = [Step(OK), *PLAYS[name]]  # what nobody repeats never rides
    riding = await step_through(steps, rides=True)
    visiting = await step_through(steps, rides=False)
    assert visiting.rides == 0
    assert (riding.rides == 0) == (name in NEVER_RIDE)
    assert riding.answers == visiting.answers
    assert riding.records == visiting.records
    assert riding.sent == visiting.sent
    assert len(riding.records) == len(steps)
