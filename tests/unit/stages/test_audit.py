"""The audit stage: one line before a request is forwarded, one at its end, each as safe as its class asks for."""

import asyncio
import errno
from typing import Any

import pytest

from gateway.audit.chain import Chain, new_chain_key
from gateway.audit.journal import Journal
from gateway.audit.lines import Lines
from gateway.audit.sinks import Forgetful
from gateway.denial import Denied, Reason
from gateway.model import AuditRecord, Risk
from gateway.stages.audit import AuditTrail
from gateway.stages.forward import may_change_state
from tests.fakes import FakeSink, make_call, make_identity, make_record, make_request, make_user

FULL = OSError(errno.ENOSPC, "No space left on device")


def make_trail(sink: FakeSink, **options: Any) -> AuditTrail:
    journal = Journal(Chain(new_chain_key(b"k" * 32)), Forgetful())
    journal.use(sink, ())
    lines = Lines("lab", frozenset({"job_id"}))
    return AuditTrail(journal, lines, changes_state=may_change_state, **options)


def admitted(risk: Risk = Risk.READ) -> AuditRecord:
    return make_record(
        request=make_request(),
        identity=make_identity(),
        user=make_user(),
        call=make_call(risk=risk),
        granted=True,
    )


async def test_an_admitted_request_has_two_lines_with_one_id() -> None:
    sink = FakeSink()
    trail, record = make_trail(sink), admitted()
    await trail.open(record)
    assert [line["event"] for line in sink.records] == ["begin"]
    await trail.close(record)
    begin, end = sink.records
    assert (begin["event"], end["event"]) == ("begin", "end")
    assert begin["request_id"] == end["request_id"] == record.request_id


async def test_a_refused_request_has_one_line() -> None:
    sink = FakeSink()
    await make_trail(sink).close(make_record())
    assert [line["event"] for line in sink.records] == ["denied"]


@pytest.mark.parametrize(
    ("risk", "options", "waits"),
    [
        (Risk.READ, {}, False),
        (Risk.READ_BULK, {}, False),
        (Risk.SUBMIT, {}, True),
        (Risk.UTIL, {}, True),
        (Risk.READ, {"durable_reads": True}, True),
    ],
)
async def test_a_write_waits_for_the_disk_twice_and_a_read_if_it_shall(
    risk: Risk, options: dict[str, bool], waits: bool
) -> None:
    sink = FakeSink()
    trail, record = make_trail(sink, **options), admitted(risk)
    await trail.open(record)
    assert sink.settled == [True] * waits
    await trail.close(record)
    assert sink.settled == [True] * 2 * waits


async def test_a_failed_sink_stops_admission_until_it_works_again() -> None:
    sink = FakeSink()
    trail = make_trail(sink)
    sink.error = FULL
    record = admitted()
    for _ in range(2):
        with pytest.raises(Denied) as refusal:
            await trail.open(record)
        assert refusal.value.reason is Reason.AUDIT_UNAVAILABLE
        assert refusal.value.note == "No space left on device"
        assert record.opened == ""
    sink.error = None
    assert await trail.journal.try_again()
    await trail.open(record)


async def test_a_write_whose_first_line_does_not_reach_the_disk_is_refused() -> None:
    """Its line may be there all the same, so an end says that it came to nothing."""
    sink = FakeSink()
    trail, record = make_trail(sink), admitted(Risk.SUBMIT)
    settle, sink.settle = sink.settle, _failing  # type: ignore[method-assign]
    with pytest.raises(Denied) as refusal:
        await trail.open(record)
    assert refusal.value.reason is Reason.AUDIT_UNAVAILABLE
    sink.settle = settle  # type: ignore[method-assign]
    record.granted, record.code = False, "audit-unavailable"
    await trail.close(record)
    assert await trail.journal.try_again()
    assert [(line["event"], line.get("verdict")) for line in sink.records] == [
        ("begin", "granted"),
        ("end", "denied"),
        ("recovered", None),
    ]


async def _failing(*, durable: bool) -> None:
    raise OSError(errno.EIO, "Input/output error")


async def test_an_answer_is_delivered_though_its_last_line_fails() -> None:
    sink = FakeSink()
    trail, record = make_trail(sink), admitted(Risk.SUBMIT)
    await trail.open(record)
    sink.error = FULL
    await trail.close(record)
    with pytest.raises(Denied):
        await trail.open(admitted())
    sink.error = None
    assert await trail.journal.try_again()
    assert [line["event"] for line in sink.records] == ["begin", "end", "recovered"]


class Slow:
    """Fills Beside; `go` lets it be on disk."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    def drop(self) -> None:
        """Nothing to free."""

    async def wait(self) -> None:
        await self.go.wait()


async def test_what_is_brought_to_disk_beside_the_last_line_is_waited_for_as_well() -> None:
    sink = FakeSink()
    trail, record = make_trail(sink), admitted(Risk.SUBMIT)
    await trail.open(record)
    record.beside = beside = Slow()
    closing = asyncio.ensure_future(trail.close(record))
    for _ in range(5):
        await asyncio.sleep(0)
    assert [line["event"] for line in sink.records] == ["begin", "end"], "neither waits first"
    assert not closing.done()
    beside.go.set()
    await closing


async def test_observers_see_every_record() -> None:
    seen: list[AuditRecord] = []
    trail = make_trail(FakeSink(), observers=[seen.append])
    record = make_record()
    await trail.close(record)
    assert seen == [record]


async def test_a_decision_that_somebody_else_acts_on_has_one_line_before_it_is_handed_out() -> None:
    sink = FakeSink()
    trail, record = make_trail(sink), admitted()
    await trail.decide(record)
    assert [(line["event"], line["verdict"]) for line in sink.records] == [("end", "granted")]


async def test_a_decision_that_cannot_be_written_is_none() -> None:
    for risk in (Risk.READ, Risk.JOB_WRITE):
        sink = FakeSink()
        trail, record = make_trail(sink), admitted(risk)
        sink.error = FULL
        for _ in range(2):  # as it fails, and while it has failed
            with pytest.raises(Denied) as caught:
                await trail.decide(record)
            assert caught.value.reason is Reason.AUDIT_UNAVAILABLE
            assert not record.granted


@pytest.mark.parametrize(("risk", "waits"), [(Risk.READ, False), (Risk.JOB_WRITE, True)])
async def test_a_decision_on_a_write_waits_for_the_disk(risk: Risk, waits: bool) -> None:
    sink = FakeSink()
    await make_trail(sink).decide(admitted(risk))
    assert sink.settled == ([True] if waits else [])
