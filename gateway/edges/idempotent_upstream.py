"""Grant with an Idempotency-Key -> the answer of its first request; slurmrestd runs each key once at the most.

Whatever else is true, nothing is sent before the key is on disk, and nothing is sent again before Slurm
itself, answering steadily, has shown that the job is not there.
"""

import logging
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from typing import NamedTuple

from gateway.denial import Denied, Reason
from gateway.edges.job_lookup import Slots, Upstream
from gateway.edges.key_turns import KeyTurns
from gateway.edges.lost_job import FindLost, Lost
from gateway.edges.spool import memory_body
from gateway.edges.upstream_answer import Answer, UpstreamFailed, denied
from gateway.model import Clock, Grant, Lease
from gateway.slurm_api.marked_job import MARKER_BEGIN, submit_answer
from gateway.stages.forward import read_head
from gateway.stages.forward_result import job_ids, slurm_errors
from gateway.stages.idempotency import (
    KeyEntry,
    KeysExceeded,
    KeyStore,
    KeyStoreDoubt,
    Sending,
    StoredAnswer,
    Terms,
    begun_again,
    field_for,
    fresh_entry,
    is_conclusive,
    takes_key,
)
from gateway.stages.idempotency_body import Submission, Unmarkable

_JSON = "application/json"
_OK = 200
_MARKER_BYTES = len(MARKER_BEGIN) + 22
_MOST_BODY_BYTES = 16_777_216
_MOST_ANSWER_BYTES = 1_048_576
_RETRY_SECONDS = 5
_REPLAYED = (b"idempotent-replayed", b"true")

_log = logging.getLogger(__name__)


def new_marker() -> str:
    """What no user can guess and no other job has."""
    return MARKER_BEGIN + urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()


class _Seat:
    """One request's slot, which it does not hold while it only waits."""

    def __init__(self, slots: Slots, grant: Grant) -> None:
        self._slots = slots
        self._grant = grant
        self._lease: Lease | None = grant.slot

    def leave(self) -> None:
        """Let others have it."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    async def take(self) -> Grant:
        """The grant with a slot again. Raises Denied(BUSY)."""
        if self._lease is None:
            self._lease = await self._slots.acquire(self._grant.admission.identity)
        return self._grant._replace(slot=self._lease)


class _Call(NamedTuple):
    """One request with a key. `deadline` is on the clock of the turns."""

    grant: Grant
    seat: _Seat
    fresh: KeyEntry
    submission: Submission
    deadline: float


@dataclass(frozen=True, slots=True)
class IdempotentUpstream:
    """Fills the Protocol that it wraps; requests without a key go through untouched."""

    upstream: Upstream
    store: KeyStore
    turns: KeyTurns
    find_lost: FindLost
    slots: Slots
    terms: Terms
    now: Clock

    async def send(self, grant: Grant) -> Answer:
        """Forward, replay or refuse. Raises Denied with the reasons listed under idempotency, or the upstream's."""
        admission = grant.admission
        if not admission.request.idempotency_key or not takes_key(admission.call):
            return await self.upstream.send(grant)
        seat = _Seat(self.slots, grant)
        submission = self._read(grant)
        sha256 = grant.body.sha256 if grant.body is not None else ""
        fresh = fresh_entry(
            admission,
            sha256,
            Sending(new_marker(), self.turns.holder, self.now()),
            self.terms.keep_seconds,
        )
        deadline = self.turns.monotonic() + self.terms.wait_seconds
        call = _Call(grant, seat, fresh, submission, deadline)
        try:
            async with self.turns.turn(
                fresh.key_hash, fresh.fingerprint, self.terms.wait_seconds, seat.leave
            ):
                return await self._serve(call)
        except BaseException:
            seat.leave()
            raise

    def _read(self, grant: Grant) -> Submission:
        body = grant.body
        if body is None or body.length > _MOST_BODY_BYTES:
            what = f"With an Idempotency-Key the body may have at most {_MOST_BODY_BYTES} bytes."
            raise Denied(Reason.BODY_TOO_LARGE, detail=what)
        try:
            field = field_for(grant.admission.call, self.terms.marker_field)
            return Submission(body.read(body.length), field, _MARKER_BYTES)
        except Unmarkable as error:
            what = f"{Reason.IDEMPOTENCY_BODY_UNFIT.sentence} Here {error}."
            raise Denied(Reason.IDEMPOTENCY_BODY_UNFIT, str(error), detail=what) from error

    async def _serve(self, call: _Call) -> Answer:
        """In turn: nobody else of this process works on the key."""
        entry = await self._begin(call.fresh)
        if entry is call.fresh:
            return await self._first(call, entry)
        if entry.fingerprint != call.fresh.fingerprint:
            raise Denied(Reason.IDEMPOTENCY_KEY_REUSED, f"first request {entry.request_id}")
        call.seat.leave()
        if entry.answer is None:
            return await self._resolve(call, entry)
        return _replay(entry, entry.answer)

    async def _begin(self, fresh: KeyEntry) -> KeyEntry:
        try:
            return await self.store.begin(fresh, fresh.begun, self.terms.caps)
        except KeysExceeded as error:
            raise Denied(Reason.IDEMPOTENCY_KEYS_EXCEEDED, str(error)) from error
        except KeyStoreDoubt as doubt:
            raise _unavailable(doubt) from doubt

    # sending

    async def _first(self, call: _Call, entry: KeyEntry) -> Answer:
        try:
            grant = await call.seat.take()
        except Denied:
            await self._forget(entry)
            raise
        return await self._forward(call, grant, entry)

    async def _forward(self, call: _Call, grant: Grant, entry: KeyEntry) -> Answer:
        """Send it, marked. From here on the outcome is unknown, unless something says better."""
        marked = call.submission.marked(entry.marker)
        body = memory_body(marked)
        try:
            answer = await self.upstream.send(grant._replace(body=body))
            await self._keep(grant, entry, answer)
        except Denied as refusal:
            if refusal.members.get("outcome") == "not-run":
                await self._forget(entry)
            else:
                self.turns.note_broken(entry.key_hash)
            raise
        except BaseException:
            self.turns.note_broken(entry.key_hash)
            raise
        answer.note = f"marked {entry.marker}"
        return answer

    async def _keep(self, grant: Grant, entry: KeyEntry, answer: Answer) -> None:
        """Remember what was answered, where that tells whether the job runs."""
        try:
            is_whole = await answer.read_all(_MOST_ANSWER_BYTES)
        except UpstreamFailed as failure:
            answer.close()
            raise denied(failure, grant.admission.call) from failure
        except BaseException:
            answer.close()
            raise
        whole = answer.whole or b""
        ids, codes = job_ids(whole), slurm_errors(whole)
        if not is_whole or not is_conclusive(answer.head.status, codes, ids):
            self.turns.note_broken(entry.key_hash)
            return
        stored = StoredAnswer(answer.head.status, _media_type(answer), whole)
        if len(whole) > self.terms.maximum_answer_bytes:
            if not ids:  # certainly not run
                await self._forget(entry)
                return
            stored = self._made_up(grant, int(ids[0]))
        await self._finish(entry, stored)

    async def _finish(self, entry: KeyEntry, stored: StoredAnswer) -> None:
        """An answer that cannot be remembered is delivered all the same: its job has its marker."""
        try:
            await self.store.finish(entry.key_hash, stored)
        except KeyStoreDoubt as doubt:
            self.turns.note_broken(entry.key_hash)
            _log.error("an answer is not remembered: %s", doubt)
        else:
            self.turns.note_known(entry.key_hash)

    async def _forget(self, entry: KeyEntry) -> None:
        """Where this fails, the next request finds out by looking for the job."""
        try:
            await self.store.forget(entry.key_hash)
        except KeyStoreDoubt as doubt:
            self.turns.note_broken(entry.key_hash)
            _log.error("a key is not forgotten: %s", doubt)
        else:
            self.turns.note_known(entry.key_hash)

    def _made_up(self, grant: Grant, job_id: int) -> StoredAnswer:
        """JSON, which is YAML too, as the answer to such a submission would be."""
        body = submit_answer(grant.admission.call.version, job_id)
        return StoredAnswer(_OK, grant.admission.request.accept, body, job_id)

    # finding out

    async def _resolve(self, call: _Call, entry: KeyEntry) -> Answer:
        """The first request broke off. Find its job, or make sure that there is none and send it again."""
        lost = Lost(call.grant, entry, call.submission.field, call.submission.job_names)
        job_id = await self.find_lost(lost, call.deadline)
        if job_id:
            stored = self._made_up(call.grant, job_id)
            await self._finish(entry, stored)
            return _replay(entry, stored)
        grant = await call.seat.take()
        again = begun_again(entry, call.fresh)
        try:
            await self.store.begin_again(again)
        except KeyStoreDoubt as doubt:
            raise _unavailable(doubt) from doubt
        answer = await self._forward(call, grant, again)
        answer.note = f"sent again, {answer.note}, first request {entry.request_id}"
        return answer


def _unavailable(doubt: KeyStoreDoubt) -> Denied:
    retry = (("Retry-After", str(_RETRY_SECONDS)),)
    return Denied(Reason.IDEMPOTENCY_UNAVAILABLE, str(doubt), headers=retry)


def _media_type(answer: Answer) -> str:
    kinds = (value for name, value in answer.head.headers if name == b"content-type")
    return next(kinds, b"").decode("latin-1")


def _replay(entry: KeyEntry, stored: StoredAnswer) -> Answer:
    kind = f"Content-Type: {stored.media_type}\r\n" if stored.media_type else ""
    length = f"Content-Length: {len(stored.body)}\r\n"
    head = read_head(f"HTTP/1.1 {stored.status} X\r\n{kind}{length}\r\n".encode("latin-1"))
    headers = (*head.headers, _REPLAYED)
    lines = head.lines + b"%b: %b\r\n" % _REPLAYED
    answer = Answer(head._replace(headers=headers, lines=lines), stored.body)
    found = f"found as job {stored.job_id}, " if stored.job_id else ""
    answer.note = f"replayed, {found}first request {entry.request_id}"
    return answer
