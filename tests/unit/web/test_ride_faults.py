"""What goes wrong inside a ride: nothing is lost, nothing is written twice, nothing old is sent."""

import asyncio
import gc
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from gateway.audit.chain import Chain, new_chain_key
from gateway.audit.journal import Journal
from gateway.audit.lines import Lines
from gateway.audit.sinks import Forgetful
from gateway.audit.turn_lines import TurnLine
from gateway.denial import Denied, Reason
from gateway.edges.slots import FairSlots
from gateway.model import AuditRecord, Secret, UpstreamCredential
from gateway.stages.audit import AuditTrail
from gateway.stages.forward import may_change_state
from gateway.web.turns import Turns
from gateway.web.visit import Visit
from tests.fakes import FakeSink
from tests.scripted_upstream import Wire, answer, answering
from tests.unit.web.test_proxy_on_the_wire import GET, Caller, Gateway, gateway
from tests.unit.web.test_rides import FIRST, primed, then
from tests.upstream_kit import settled

ON_BOTH_LOOPS = True


class LaggingSink(FakeSink):
    """Keeps a line to itself, when it is told to, until `settle` has been let through."""

    def __init__(self) -> None:
        super().__init__()
        self.may_lag = True
        self.falls_behind = False
        self.caught_up = asyncio.Event()
        self.is_away = False

    @property
    def lags(self) -> bool:  # type: ignore[override]  # the fake's never does
        return self.falls_behind

    async def settle(self, *, durable: bool) -> None:
        if self.falls_behind:
            await self.caught_up.wait()
            self.falls_behind = False
        if self.is_away:
            raise OSError(5, "away")


class Behind(LaggingSink):
    """Falls behind with the next line of a kind, "begin" or "end"."""

    kind = b""

    def write(self, lines: Sequence[bytes]) -> int:
        if self.kind and b'"%b"' % self.kind in b"".join(lines):
            self.falls_behind = True
        return super().write(lines)


def record_to(sink: FakeSink, at: Gateway) -> None:
    """A real audit, whose observers are the world's records."""
    journal = Journal(Chain(new_chain_key(b"k" * 32)), Forgetful())
    journal.use(sink, (), syncs=False)
    journal.turn_lines.go_before(at.late_writes)
    lines, observers = Lines("lab", frozenset()), [at.world.records.append]
    trail = AuditTrail(journal, lines, changes_state=may_change_state, observers=observers)
    serving = at.world.serving
    assert serving.express is not None
    pipeline = replace(serving.pipeline, audit=trail)
    express = serving.express._replace(pipeline=pipeline)
    at.world.serving = replace(serving, pipeline=pipeline, express=express)


@asynccontextmanager
async def recording(sink: FakeSink, **options: Any) -> AsyncIterator[tuple[Gateway, list[Caller]]]:
    """Primed connections and a real audit."""
    async with primed(answering(lambda _: FIRST), **options) as (at, callers):
        record_to(sink, at)
        at.world.time -= 1.0  # which ends what was decided before
        for caller in callers:
            caller.writer.write(GET)
            assert (await caller.answer())[0] == 200
        await asyncio.sleep(0)
        at.world.records.clear()
        sink.lines.clear()
        yield at, callers


async def test_nothing_is_sent_while_its_first_line_waits_in_this_process() -> None:
    sink = Behind()
    async with recording(sink) as (at, (caller,)):
        seen = len(at.server.seen)
        sink.kind = b"begin"
        caller.writer.write(GET)
        await settled(lambda: sink.lines)
        await asyncio.sleep(0.05)
        assert len(at.server.seen) == seen
        sink.kind = b""
        sink.caught_up.set()
        assert (await caller.answer())[0] == 200
        assert len(sink.lines) == 2
        assert at.rides > 0


async def test_a_first_line_that_gets_nowhere_is_a_refusal() -> None:
    sink = Behind()
    async with recording(sink) as (at, (caller,)):
        seen = len(at.server.seen)
        sink.kind, sink.is_away = b"begin", True
        sink.caught_up.set()
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 503
        assert (at.codes, len(at.server.seen)) == (["audit-unavailable"], seen)
        assert not at.world.records[0].granted
        sink.kind, sink.is_away = b"", False


async def test_first_lines_that_the_end_of_their_turn_cannot_write_are_refusals() -> None:
    """Their heads were ready to be sent, and are not."""
    sink = FakeSink()
    async with recording(sink, callers=3) as (at, callers):
        seen = len(at.server.seen)
        sink.error = OSError(28, "No space left on device")
        for caller in callers:
            caller.writer.write(GET)
        for caller in callers:
            assert (await caller.answer())[0] == 503
        assert (at.codes, len(at.server.seen)) == (["audit-unavailable"] * 3, seen)
        assert not any(record.granted for record in at.world.records)
        sink.error = None
        await settled(lambda: len(sink.lines) == 4)
        assert {line["event"] for line in sink.records} == {"denied", "recovered"}
        callers[0].writer.write(GET)
        assert (await callers[0].answer())[0] == 200
        assert [line["event"] for line in sink.records[4:]] == ["begin", "end"]


async def test_who_finds_no_connection_waits_for_the_first_line_before_there_is_another() -> None:
    sink = FakeSink()
    async with recording(sink) as (at, (caller,)):
        seen = len(at.server.seen)
        at.client.pool.lapse()
        sink.error = OSError(28, "No space left on device")
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 503
        assert (at.rides, at.codes) == (1, ["audit-unavailable"])
        assert len(at.server.seen) == seen
        sink.error = None


async def test_who_hangs_up_in_the_turn_of_a_first_line_that_fails_is_told_of_as_denied() -> None:
    """Or there were a last line without a first one."""
    sink = FakeSink()
    async with recording(sink) as (at, (caller,)):
        seen = len(at.server.seen)
        journal = at.world.serving.pipeline.audit.journal  # type: ignore[attr-defined]  # a real one
        add = journal.turn_lines.add

        def gone(line: TurnLine) -> None:
            add(line)
            sink.error = OSError(28, "No space left on device")
            (connection,) = at.listener.server_state.connections
            connection.connection_lost(None)

        journal.turn_lines.add = gone
        caller.writer.write(GET)
        await settled(lambda: len(at.world.records) == 1)
        sink.error = None
        await settled(lambda: len(sink.lines) == 2)
        assert [line["event"] for line in sink.records] == ["denied", "recovered"]
        assert len(at.server.seen) == seen


async def test_an_answer_waits_for_its_last_line() -> None:
    sink = Behind()
    async with recording(sink) as (at, (caller,)):
        sink.kind = b"end"
        caller.writer.write(GET)
        await settled(lambda: len(sink.lines) == 2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(caller.reader.readexactly(1), 0.05)
        sink.kind = b""
        sink.caught_up.set()
        assert (await caller.answer())[0] == 200
        assert (len(sink.lines), len(at.world.records)) == (2, 1)


async def test_an_observer_that_fails_does_not_have_the_last_line_written_twice() -> None:
    sink = FakeSink()
    async with recording(sink) as (at, (caller,)):

        def fail(_: AuditRecord) -> None:
            raise RuntimeError("canary")

        serving = at.world.serving
        assert isinstance(serving.pipeline.audit, AuditTrail)
        serving.pipeline.audit._observers = (fail,)
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 500
        assert len(sink.lines) == 2
        serving.pipeline.audit._observers = ()


async def test_a_stage_that_fails_is_told_by_a_visit() -> None:
    """Not by an exception in the event loop, which would end the connection and lose count."""
    async with primed(then()) as (at, (caller,)):
        at.world.fails = {"limit": RuntimeError("canary")}
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 500
        at.world.fails = {}
        assert at.codes == ["internal-error"]


async def test_slots_that_fail_are_answered_for() -> None:
    class Broken(FairSlots):
        is_broken = False

        def _at_once(self, key: tuple[str, str]) -> Any:
            if self.is_broken:
                raise RuntimeError("canary")
            return super()._at_once(key)

    seats = Broken(8, 100, 5.0)
    async with primed(then(), seats=seats) as (at, (caller,)):
        seats.is_broken = True
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 500
        seats.is_broken = False
        assert at.codes == ["internal-error"]


async def test_a_fault_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with primed(then()) as (at, (caller,)):
        at.world.fails = {"open": RuntimeError("canary")}
        caller.writer.write(GET)
        assert (await caller.answer())[0] == 500
        at.world.fails = {}
    faults = [record for record in caplog.records if "RuntimeError" in record.getMessage()]
    assert len(faults) == 1
    assert "canary" not in caplog.text


async def in_the_queue(at: Gateway, one: Caller, two: Caller) -> None:
    """`one` holds the only slot, `two` waits for it."""
    one.writer.write(GET)
    await settled(lambda: len(at.server.seen) == 4)
    two.writer.write(GET)
    await settled(lambda: at.rides == 2)


@pytest.mark.parametrize("is_refused", [False, True])
async def test_who_waited_longer_than_a_decision_stands_gets_a_new_credential(
    *, is_refused: bool
) -> None:
    """The one from before the queue may have ended in it."""
    gate = asyncio.Event()

    async def play(wire: Wire) -> None:
        while await wire.request() is not None:
            if len(wire._seen) > 3:
                await gate.wait()
            await wire.send(FIRST)

    async with primed(play, callers=2, seats=FairSlots(1, 10, 5.0)) as (at, (one, two)):

        async def credential(*_: object) -> UpstreamCredential:
            if is_refused:
                raise Denied(Reason.TOKEN_EXPIRING)
            return UpstreamCredential("alice", Secret("a-new-one"))

        serving = at.world.serving
        # frozen, and known to the lanes already
        object.__setattr__(serving.pipeline, "credential", credential)
        await in_the_queue(at, one, two)
        at.world.time += 1.0
        gate.set()
        assert (await one.answer())[0] == 200
        assert (await two.answer())[0] == (401 if is_refused else 200)
        tokens = [seen.token for seen in at.server.seen]
        assert tokens[3] == "canary-slurm-token"
        assert tokens[4:] == ([] if is_refused else ["a-new-one"])
        assert sorted(record.granted for record in at.world.records) == [not is_refused, True]


async def test_an_idle_connection_keeps_no_answer() -> None:
    def visits() -> list[Visit]:
        gc.collect()
        return [each for each in gc.get_objects() if isinstance(each, Visit)]

    before = visits()
    async with primed(then(answer(b"x" * 50_000))) as (at, (caller,)):
        at.world.time -= 1.0  # so that a visit serves it and leaves a lane
        caller.writer.write(GET)
        assert len((await caller.answer())[2]) == 50_000
        assert at.visits == 1
        await asyncio.sleep(0)
        assert [each for each in visits() if each not in before] == []


async def test_an_exchange_whose_task_is_cancelled_before_it_wakes_is_run_and_cancelled() -> None:
    """What callbacks have recorded and hold must come to an end there."""
    ran: list[str] = []

    class Exchange:
        async def run(self) -> None:
            try:
                ran.append("begun")
                await asyncio.sleep(0)
                ran.append("done")
            except asyncio.CancelledError:
                ran.append("cancelled")
                raise

        async def fail(self, error: BaseException) -> None:
            ran.append(type(error).__name__)

    tasks: set[asyncio.Task[None]] = set()
    turns = Turns(asyncio.get_running_loop(), tasks, lambda: None)
    turns.start(Exchange())
    await settled(lambda: not tasks)
    ran.clear()
    turns.start(Exchange())
    (task,) = tasks
    task.cancel()
    await settled(lambda: not tasks)
    assert ran == ["begun", "cancelled", "CancelledError"]
    turns.end()


async def test_very_many_pipelined_repeats_are_answered_in_order() -> None:
    """Each rides from inside the answer before it."""
    count = 3000
    async with primed(then(*[answer(b"%d" % n) for n in range(count)])) as (at, (caller,)):
        caller.writer.write(GET * count)
        for n in range(count):
            assert (await caller.answer())[2] == b"%d" % n
        assert at.visits + at.rides >= count


class Capricious:
    """A slurmrestd that answers late, at length, in pieces, wrongly, or not at all."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    async def __call__(self, wire: Wire) -> None:
        while (await wire.request()) is not None:
            await asyncio.sleep(self._chance.choice((0, 0, 0.001, 0.003)))
            kind = self._chance.random()
            if kind < 0.7:
                await wire.send(answer(b"x" * self._chance.choice((2, 2, 200_000))))
            elif kind < 0.8:
                await wire.send(answer(b"{}", "404 NOT FOUND"))
                return
            elif kind < 0.9:
                await wire.send_by_byte(answer())
            else:
                wire.reset()
                return


async def bother(at: Gateway, chance: random.Random, turns: int) -> None:
    """One client that pipelines, hangs up anywhere, and comes again."""
    caller = await at.call()
    for _ in range(turns):
        count = chance.choice((1, 1, 1, 3))
        try:
            caller.writer.write(GET * count)
            if chance.random() < 0.25:
                await asyncio.sleep(chance.choice((0, 0.0005, 0.002)))
                raise ConnectionResetError
            for _ in range(count):
                _, headers, _ = await asyncio.wait_for(caller.answer(), 60)
                if headers.get("connection") == "close":
                    raise ConnectionResetError
        except (ConnectionError, asyncio.IncompleteReadError):
            caller.hang_up()
            caller = await at.call()
    caller.hang_up()


@pytest.mark.parametrize("drains", [False, True])
async def test_whatever_happens_each_request_has_its_two_lines_and_gives_back_all(
    *, drains: bool
) -> None:
    """Twelve clients and two slots; in the end slots, leases and counts are as they were."""
    chance, sink = random.Random(7), FakeSink()  # noqa: S311  # a seed for the same course each time
    seats = FairSlots(2, 6, 0.05)
    async with gateway(Capricious(chance), seats=seats, buffer_bytes=100_000) as at:
        record_to(sink, at)
        clients = [asyncio.create_task(bother(at, chance, 40)) for _ in range(12)]
        if drains:
            await settled(lambda: at.rides > 20)
            await at.listener.stop(0.0)
            for client in clients:
                client.cancel()
        await asyncio.wait(clients)
        await settled(lambda: at.world.ended == at.visits + at.rides)
        assert at.world.leased == at.world.lease.released
        assert (seats.queued, seats._free, seats._held) == (0, 2, {})
        assert at.rides > 20
    of = defaultdict(list)
    for line in sink.records:
        of[line["request_id"]].append(line["event"])
    assert {tuple(events) for events in of.values()} <= {("begin", "end"), ("denied",)}
    assert len(at.world.records) == len(of)
