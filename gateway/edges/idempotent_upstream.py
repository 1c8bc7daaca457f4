"""Grant with an Idempotency-Key -> the answer of its first request; slurmrestd runs each key once at the most.

Whatever else is true, nothing is sent before the key is on disk, and nothing is sent again before Slurm
itself, answering steadily, has shown that the job is not there.
"""

import logging
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from gateway.denial import Denied, Reason
from gateway.edges.job_lookup import Slots, Upstream
from gateway.edges.key_course import Course, Dropped
from gateway.edges.key_turns import KeyTurns
from gateway.edges.lost_job import FindLost, Lost
from gateway.edges.spool import memory_body
from gateway.edges.upstream_answer import Answer, UpstreamFailed, denied
from gateway.model import Admission, Body, Clock, Grant, Lease
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


class Ran(Enum):
    """What an answer says that is not remembered as it is."""

    NOT = "certainly not"
    PERHAPS = "perhaps"


def new_marker() -> str:
    """What no user can guess and no other job has."""
    return MARKER_BEGIN + urlsafe_b64encode(os.urandom(16)).rstrip(b"=").decode()


class _Seat:
    """One request's slot, which it does not hold while it only waits."""

    def __init__(self, slots: Slots, admission: Admission, slot: Lease) -> None:
        self._slots = slots
        self._identity = admission.identity
        self._lease: Lease | None = slot

    def leave(self) -> None:
        """Let others have it."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()

    async def take(self, grant: Grant) -> Grant:
        """The grant with a slot again. Raises Denied(BUSY)."""
        if self._lease is None:
            self._lease = await self._slots.acquire(self._identity)
        return grant._replace(slot=self._lease)


class _Call(NamedTuple):
    """One request with a key. `deadline` is on the clock of the turns."""

    course: Course
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

    def begin(self, admission: Admission, body: Body | None, slot: Lease) -> Course | None:
        """Remember the key while the first record goes to disk. `send` or `drop` has to follow.

        None where the request has no key that means anything.
        """
        if not admission.request.idempotency_key or not takes_key(admission.call):
            return None
        course = Course()
        course.run(self._run(course, admission, body, _Seat(self.slots, admission, slot)))
        return course

    async def send(self, grant: Grant) -> Answer:
        """Forward, replay or refuse. Raises Denied with the reasons listed under idempotency, or the upstream's.

        A course that was begun before has to be waited for before the answer's last byte.
        """
        if isinstance(grant.beside, Course):
            return await grant.beside.answer(grant)
        course = self.begin(grant.admission, grant.body, grant.slot)
        if course is None:
            return await self.upstream.send(grant)
        answer = await course.answer(grant)
        await course.wait()
        return answer

    async def _run(
        self, course: Course, admission: Admission, body: Body | None, seat: _Seat
    ) -> None:
        try:
            submission = self._read(admission, body)
            fresh = fresh_entry(
                admission,
                body.sha256 if body is not None else "",
                Sending(new_marker(), self.turns.holder, self.now()),
                self.terms.keep_seconds,
            )
            deadline = self.turns.monotonic() + self.terms.wait_seconds
            call = _Call(course, seat, fresh, submission, deadline)
            async with self.turns.turn(
                fresh.key_hash, fresh.fingerprint, self.terms.wait_seconds, seat.leave
            ):
                await self._serve(call)
        except BaseException:
            seat.leave()
            raise

    def _read(self, admission: Admission, body: Body | None) -> Submission:
        if body is None or body.length > _MOST_BODY_BYTES:
            what = f"With an Idempotency-Key the body may have at most {_MOST_BODY_BYTES} bytes."
            raise Denied(Reason.BODY_TOO_LARGE, detail=what)
        try:
            field = field_for(admission.call, self.terms.marker_field)
            return Submission(body.read(body.length), field, _MARKER_BYTES)
        except Unmarkable as error:
            what = f"{Reason.IDEMPOTENCY_BODY_UNFIT.sentence} Here {error}."
            raise Denied(Reason.IDEMPOTENCY_BODY_UNFIT, str(error), detail=what) from error

    async def _serve(self, call: _Call) -> None:
        """In turn: nobody else of this process works on the key."""
        if call.course.is_dropped:
            raise Dropped
        entry = await self._begin(call.fresh)
        grant = await self._granted(call, entry)
        if entry is call.fresh:
            await self._first(call, grant, entry)
            return
        if entry.fingerprint != call.fresh.fingerprint:
            raise Denied(Reason.IDEMPOTENCY_KEY_REUSED, f"first request {entry.request_id}")
        call.seat.leave()
        if entry.answer is None:
            await self._resolve(call, grant, entry)
        else:
            call.course.tell(_replay(entry, entry.answer))

    async def _granted(self, call: _Call, entry: KeyEntry) -> Grant:
        """Nothing goes to Slurm before this. What is not going to be sent frees its key."""
        try:
            return await call.course.granted()
        except Dropped:
            if entry is call.fresh:
                await self._forget(entry)
            raise

    async def _begin(self, fresh: KeyEntry) -> KeyEntry:
        try:
            return await self.store.begin(fresh, fresh.begun, self.terms.caps)
        except KeysExceeded as error:
            raise Denied(Reason.IDEMPOTENCY_KEYS_EXCEEDED, str(error)) from error
        except KeyStoreDoubt as doubt:
            raise _unavailable(doubt) from doubt

    # sending

    async def _first(self, call: _Call, grant: Grant, entry: KeyEntry) -> None:
        try:
            grant = await call.seat.take(grant)
        except Denied:
            await self._forget(entry)
            raise
        await self._forward(call, grant, entry, f"marked {entry.marker}")

    async def _forward(self, call: _Call, grant: Grant, entry: KeyEntry, note: str) -> None:
        """Send it, marked. From here on the outcome is unknown, unless something says better."""
        marked = call.submission.marked(entry.marker)
        body = memory_body(marked)
        if self.turns.is_lost(entry.key_hash):
            raise _unavailable(KeyStoreDoubt("cut off from the store for longer than its lease"))
        try:
            answer = await self.upstream.send(grant._replace(body=body))
            stored = await self._stored(grant, answer)
        except Denied as refusal:
            if refusal.members.get("outcome") == "not-run":
                await self._forget(entry)
            else:
                self.turns.note_broken(entry.key_hash)
            raise
        except BaseException:
            self.turns.note_broken(entry.key_hash)
            raise
        answer.note = note
        call.course.tell(answer)
        await self._keep(entry, stored)

    async def _stored(self, grant: Grant, answer: Answer) -> StoredAnswer | Ran:
        """What to remember of an answer: itself, where that tells whether the job runs."""
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
            return Ran.PERHAPS
        if len(whole) <= self.terms.maximum_answer_bytes:
            return StoredAnswer(answer.head.status, _media_type(answer), whole)
        return self._made_up(grant, int(ids[0])) if ids else Ran.NOT

    async def _keep(self, entry: KeyEntry, stored: StoredAnswer | Ran) -> None:
        """On disk before the answer's last byte goes out, as the last record is."""
        match stored:
            case Ran.PERHAPS:
                self.turns.note_broken(entry.key_hash)
            case Ran.NOT:
                await self._forget(entry)
            case answer:
                await self._finish(entry, answer)

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
        if self.turns.is_lost(entry.key_hash):  # it may be somebody else's by now
            self.turns.note_broken(entry.key_hash)
            return
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

    async def _resolve(self, call: _Call, grant: Grant, entry: KeyEntry) -> None:
        """The first request broke off. Find its job, or make sure that there is none and send it again."""
        lost = Lost(grant, entry, call.submission.field, call.submission.job_names)
        job_id = await self.find_lost(lost, call.deadline)
        if job_id:
            stored = self._made_up(grant, job_id)
            call.course.tell(_replay(entry, stored))
            await self._finish(entry, stored)
            return
        grant = await call.seat.take(grant)
        if self.turns.is_lost(entry.key_hash):
            raise _unavailable(KeyStoreDoubt("the turn ended while it waited for a connection"))
        again = begun_again(entry, call.fresh)
        try:
            await self.store.begin_again(again)
        except KeyStoreDoubt as doubt:
            raise _unavailable(doubt) from doubt
        note = f"sent again, marked {again.marker}, first request {entry.request_id}"
        await self._forward(call, grant, again, note)


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
