"""One request on its way through the stages, to slurmrestd and back; its record is closed exactly once."""

import asyncio
import logging
import traceback
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

from gateway.denial import Denied, Reason
from gateway.edges.upstream_answer import Answer, UpstreamFailed, denied
from gateway.model import Admission, AuditRecord, Body, Grant, InboundRequest
from gateway.pipeline import note_denial
from gateway.stages.forward import may_change_state
from gateway.stages.forward_result import job_ids, slurm_errors
from gateway.web.client import Client
from gateway.web.disconnect import ClientWatch
from gateway.web.express import Express, ExpressUpstream, Handed, Lane, has_lane
from gateway.web.head_memo import HeadMemo
from gateway.web.problems import render
from gateway.web.relay import ReadingRate, take_body
from gateway.web.serving import Serving

_MOST_PARSED_BYTES = 1_048_576
_MOST_UNREAD_BYTES = 65_536
_NOBODY_LISTENS = frozenset({Reason.CLIENT_CLOSED, Reason.CLIENT_TOO_SLOW, Reason.SHUTTING_DOWN})

_log = logging.getLogger(__name__)


class AnswerAborted(Exception):
    """An answer that had begun cannot be completed; the server must close the connection."""


class Visit:
    """Everything one request holds, so that all of it is given back."""

    _admission: Admission | None = None
    _body: Body | None = None
    _grant: Grant | None = None
    _answer: Answer | None = None
    _watch: ClientWatch | None = None
    _has_begun = False
    _closed = False

    def __init__(self, serving: Serving, record: AuditRecord, client: Client) -> None:
        self._serving = serving
        self._record = record
        self._client = client
        self._started = monotonic()

    async def run(self) -> None:
        """Serve or refuse. Raises AnswerAborted where an answer breaks off in the middle."""
        await self._see_through(self._serve())

    async def resume(self, handed: Handed) -> None:
        """Go on where callbacks could not (express.py). Raises as `run` does."""
        self._admission, self._grant = handed.admission, handed.grant
        self._started, self._closed = handed.started, handed.is_closed
        await self._see_through(self._go_on(handed))

    async def _see_through(self, steps: Coroutine[Any, Any, None]) -> None:
        try:
            await steps
        except Denied as refusal:
            await self._refuse(refusal)
        except UpstreamFailed as failure:
            await self._refuse(self._unanswered(failure))
        except asyncio.CancelledError:
            if self._watch is None or not self._watch.swallow_cancel():
                await self._note_cancelled()
                raise
            await self._refuse(Denied(Reason.CLIENT_CLOSED))
        except Exception as error:  # noqa: BLE001  # whatever it is, the client gets an answer
            await self._refuse(self._internal(error))
        finally:
            self._give_back()

    def _receive_head(self) -> InboundRequest:
        client, record = self._client, self._record
        receive, memo = self._serving.receive, client.memo
        request = None if memo is None else memo.recall(receive, record.request_id)
        if request is None:
            request = self._read_head(client)
            if memo is not None:
                memo.keep(receive, request)
        record.client_address = request.client_address
        record.forwarded_for = request.forwarded_for
        return request

    def _read_head(self, client: Client) -> InboundRequest:
        receive, record = self._serving.receive, self._record
        method, headers, peer = client.method, client.headers, client.peer
        try:
            return receive(method, client.raw_target, headers, peer, record.request_id)
        except BaseException:
            record.raw_target = client.raw_target.decode("latin-1")
            record.client_address, record.forwarded_for = receive.client(headers, peer)
            raise

    async def _serve(self) -> None:
        serving, record, request = self._serving, self._record, self._receive_head()
        self._admission = admission = await serving.pipeline.admit(request, record)
        if request.length != 0:
            await self._take_body(admission)
        self._watch = watch = ClientWatch(self._client)
        self._grant = grant = await serving.pipeline.settle(admission, self._body, record)
        changes = may_change_state(admission.call)
        if changes:
            watch.is_cuttable = False
        self._answer = answer = await serving.upstream.send(grant)
        if admission.call.own_jobs_only:
            self._answer = answer = await serving.only_own_jobs(admission, answer)
        if admission.call.selection is not None:
            self._answer = answer = await serving.select(admission, answer)
        if changes:
            await self._note_result(answer)
        elif serving.finish is not None:
            self._answer = answer = await serving.finish(admission, answer)
            record.note = answer.note
        await self._deliver(answer)
        if serving.express is not None and self._client.memo is not None:
            self._open_lane(serving.express, self._client.memo, grant)

    def _open_lane(self, express: Express, memo: HeadMemo, grant: Grant) -> None:
        """Repeats of this head need not ask all stages again for a moment."""
        record, answer = self._record, self._answer
        if answer is not None and has_lane(grant, answer) and memo.wants_lane(record.time):
            # by what it serves with alone: a lane lasts longer than this
            guarded = self._serving.guard_rides(grant.admission.call, express.upstream)
            express = express._replace(upstream=guarded)
            memo.lane = Lane(express, grant, partial(_resume, self._serving), record)

    async def _go_on(self, handed: Handed) -> None:
        grant, outcome = handed.grant, handed.outcome
        if isinstance(outcome, BaseException) and not isinstance(outcome, UpstreamFailed):
            raise outcome
        if grant is None:
            raise RuntimeError("handed over without a slot and without a reason")
        self._watch = ClientWatch(self._client)
        if outcome is None:
            answer = await self._send(grant)
        else:
            answer = await self._recovered(handed.upstream, grant, outcome)
        self._answer = answer
        if self._closed:
            with suppress(Denied):  # the answer is delivered all the same, as after `close`
                await self._serving.pipeline.audit.settle()
        await self._deliver(answer)

    async def _send(self, grant: Grant) -> Answer:
        """What callbacks have not sent, and perhaps not even recorded."""
        record, pipeline = self._record, self._serving.pipeline
        if not record.granted:
            self._grant = grant = await pipeline.renew(grant, record)
            return await self._serving.upstream.send(grant)
        try:
            await pipeline.audit.settle()
        except BaseException:
            record.granted = False  # nothing was sent
            raise
        return await self._serving.upstream.send(grant)

    async def _recovered(
        self, upstream: ExpressUpstream, grant: Grant, outcome: Answer | UpstreamFailed
    ) -> Answer:
        if isinstance(outcome, UpstreamFailed):
            outcome = await upstream.recover(grant, outcome)
        return await upstream.examined(grant, outcome)

    async def _deliver(self, answer: Answer) -> None:
        if answer.whole is not None:
            await self._deliver_whole(answer, answer.whole)
        else:
            await self._deliver_pieces(answer)

    async def _take_body(self, admission: Admission) -> None:
        serving, record = self._serving, self._record
        self._body = body = await take_body(
            self._client.receive,
            admission.request,
            serving.spool,
            serving.body_limit(admission.call),
            serving.body_deadlines,
        )
        record.bytes_in, record.body_sha256 = body.length, body.sha256

    async def _note_result(self, answer: Answer) -> None:
        """What Slurm itself made of a write goes into the record before the client hears of it."""
        record = self._record
        record.note = "; ".join(filter(None, (record.note, answer.note)))
        if not await answer.read_all(_MOST_PARSED_BYTES):
            record.note = "the answer is too long to be searched for job ids and errors"
            return
        whole = answer.whole or b""
        record.slurm_errors = slurm_errors(whole)
        known = record.call.job_ids if record.call else ()
        record.job_ids = tuple(dict.fromkeys(known + job_ids(whole)))

    # answers

    async def _deliver_whole(self, answer: Answer, whole: bytes) -> None:
        record, watch = self._record, self._watch
        record.status = answer.head.status
        if watch is not None:
            if watch.is_gone:
                raise Denied(Reason.CLIENT_CLOSED)
            watch.is_cuttable = False
        record.bytes_out, record.complete = len(whole), True
        await self._close()
        self._has_begun = True
        if not self._client.respond(answer.head.status, self._lines(answer), whole):
            await self._client.send(self._start(answer))
            await self._client.send({"type": "http.response.body", "body": whole})

    async def _deliver_pieces(self, answer: Answer) -> None:
        record, watch = self._record, self._watch
        record.status = answer.head.status
        self._has_begun = True
        await self._client.send(self._start(answer))
        rate = self._rate(answer)
        while True:
            piece = await answer.read()
            if watch is not None and watch.is_gone:
                raise Denied(Reason.CLIENT_CLOSED)
            record.bytes_out += len(piece)
            if answer.is_over:
                break
            await self._push(piece, rate)
        if watch is not None:
            watch.is_cuttable = False
        record.complete = True
        await self._close()
        await self._client.send({"type": "http.response.body", "body": piece})

    def _lines(self, answer: Answer) -> bytes:
        return b"%bx-request-id: %b\r\n" % (answer.head.lines, self._record.request_id.encode())

    def _start(self, answer: Answer) -> dict[str, object]:
        request_id = (b"x-request-id", self._record.request_id.encode())
        head = answer.head
        return {
            "type": "http.response.start",
            "status": head.status,
            "headers": [*head.headers, request_id],
        }

    def _rate(self, answer: Answer) -> ReadingRate:
        serving = self._serving
        held = answer.waits_for_reader
        window = serving.held_window_seconds if held else serving.buffered_window_seconds
        return ReadingRate(serving.minimum_bytes_per_second, window)

    async def _push(self, piece: bytes, rate: ReadingRate) -> None:
        """Hand one piece on; `send` waits for a client that reads slowly."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(rate.longest_wait(len(piece))):
                await self._client.send(
                    {"type": "http.response.body", "body": piece, "more_body": True}
                )
        except TimeoutError as error:
            raise Denied(Reason.CLIENT_TOO_SLOW, "stopped reading") from error
        if rate.is_too_slow(len(piece), loop.time() - began):
            raise Denied(Reason.CLIENT_TOO_SLOW)

    # refusals

    def _unanswered(self, failure: UpstreamFailed) -> Denied:
        """slurmrestd broke off inside its answer."""
        call = self._record.call
        return denied(failure, call) if call else Denied(Reason.UPSTREAM_INVALID, str(failure))

    async def _refuse(self, refusal: Denied) -> None:
        """Answer with a problem document; an answer that has begun is broken off instead."""
        record = self._record
        self._note(refusal)
        self._end_lane()
        if self._has_begun:
            await self._close()
            self._break_off(refusal)
            return
        if refusal.reason in _NOBODY_LISTENS:
            await self._close()
            return
        status, headers, body = render(refusal, record.request_id)
        if self._leaves_body_unread():
            headers.append((b"connection", b"close"))
        record.bytes_out, record.complete = len(body), True
        await self._close()
        await self._client.send(
            {"type": "http.response.start", "status": status, "headers": headers}
        )
        await self._client.send({"type": "http.response.body", "body": body})

    def _end_lane(self) -> None:
        """What a stage has refused now, an earlier decision does not let through any more."""
        memo = self._client.memo
        if memo is not None and self._grant is None:
            memo.lane = None

    def _note(self, refusal: Denied) -> None:
        """What was granted stays granted in the record, whatever went wrong afterwards."""
        record = self._record
        granted, status = record.granted, record.status
        note_denial(record, refusal)
        record.granted, record.complete = granted, False
        if self._has_begun:
            record.status = status

    def _break_off(self, refusal: Denied) -> None:
        """Close the client's connection in the middle of an answer, so that it is not taken for whole."""
        if refusal.reason is Reason.CLIENT_CLOSED:
            return
        self._client.abort()
        raise AnswerAborted(refusal.reason.code)

    def _leaves_body_unread(self) -> bool:
        """Whether bytes of a body may still come that would be taken for the next request."""
        if self._body is not None:
            return False
        request = self._record.request
        if request is None:
            names = {name for name, _ in self._client.headers}
            return not names.isdisjoint((b"content-length", b"transfer-encoding"))
        length = request.length
        return length is None or length > _MOST_UNREAD_BYTES or request.expects_continue

    def _internal(self, error: Exception) -> Denied:
        """A fault of ours. Its text may hold anything, so only type and place are logged."""
        kind = type(error).__name__
        place = "".join(traceback.format_tb(error.__traceback__))
        _log.error("request %s: %s\n%s", self._record.request_id, kind, place)
        if self._grant is None or not self._record.granted:
            return Denied(Reason.INTERNAL_ERROR, kind)
        changes = may_change_state(self._grant.admission.call)
        members = {"outcome": "unknown"} if changes else {}
        return Denied(Reason.INTERNAL_ERROR, kind, detail="The gateway failed.", members=members)

    async def _note_cancelled(self) -> None:
        """The server ends this request, because it stops."""
        if not self._closed:
            self._note(Denied(Reason.SHUTTING_DOWN, "cut off"))
            await asyncio.shield(self._close())

    # the end

    async def _close(self) -> None:
        """Write the record, once."""
        if self._closed:
            return
        self._closed = True
        record = self._record
        record.total_seconds = monotonic() - self._started
        if self._answer is not None:
            record.upstream_seconds = self._answer.seconds
        await self._serving.pipeline.audit.close(record)

    def _give_back(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        if self._answer is not None:
            self._answer.close()
        if self._grant is not None:
            self._grant.slot.release()
        if self._body is not None:
            self._body.close()
        if self._admission is not None:
            self._admission.lease.release()
        self._serving.ended()


def _resume(serving: Serving, client: Client, handed: Handed) -> Coroutine[Any, Any, None]:
    return Visit(serving, handed.record, client).resume(handed)
