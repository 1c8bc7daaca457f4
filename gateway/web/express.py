"""A head that repeats, decided a moment ago -> its answer, by callbacks alone: no task, no coroutine, no ASGI.

The shortest way of a Visit, for reads of clients that poll. Rate, slot, audit and connection are
those of every request. Whatever is not straight (no kept connection, an error, a large answer, a
client that goes) is handed to a Visit, which goes on from there.
"""

from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any, NamedTuple, Protocol

from gateway.denial import Denied, Reason
from gateway.edges.upstream_answer import Answer, UpstreamFailed
from gateway.edges.upstream_connection import Credential
from gateway.model import (
    Admission,
    AuditRecord,
    AuthorizedCall,
    Clock,
    Grant,
    Identity,
    InboundRequest,
    Lease,
)
from gateway.pipeline import Pipeline
from gateway.stages.forward import may_change_state
from gateway.stages.limit import WouldWait
from gateway.web.client import Client

STANDING_SECONDS = 1.0
"""So long a decision stands for the same bytes from the same address at most, unless the stages decide so again."""
RENEWAL_SECONDS = 0.8
"""From then on they are asked. Where they have to wait for something, or have changed their mind, one
visit makes the next decision, before all who repeat would have to."""
LOOK_SECONDS = 0.1
"""So often a decision that stands is asked for what may end it: key, deny list, the token's end, the user."""
_FIRST_ERROR_STATUS = 400


class Rider(Client, Protocol):
    """A client that can be served without a task. `is_cut`: the server has ended it, because it stops."""

    @property
    def is_cut(self) -> bool: ...

    def is_ready(self) -> bool:
        """Whether `respond` would be done."""
        ...

    def hand_over(self, serve: Callable[[Client], Awaitable[None]], /) -> None:
        """Have a task serve what callbacks have served so far."""


class Limited(Protocol):
    """The rate and the cap of one identity and class: one more, at once. Raises Denied."""

    def __call__(self, identity: Identity, call: AuthorizedCall, /) -> Callable[[], Lease]: ...


class Line(Protocol):
    """A kept connection to slurmrestd, taken for one request."""

    def ask(self, head: bytes, waiter: Any, first_byte_seconds: float, /) -> None:
        """Send a head without a body. `waiter` is told as a Future is: done, set_result, set_exception."""

    def forsake(self, waiter: object, /) -> None:
        """Nobody wants the answer any more."""


class ExpressUpstream(Protocol):
    """slurmrestd, as far as it can be asked without waiting, and what follows where that did not do."""

    def write_head(self, grant: Grant, /) -> bytes: ...

    def seconds_for(self, grant: Grant, /) -> float: ...

    def take(self, credential: Credential, version: str, slot: Lease, /) -> Line | None:
        """A kept connection, if there is one; the slot goes with it."""
        ...

    async def recover(self, grant: Grant, failure: UpstreamFailed, /) -> Answer:
        """Once more where that is harmless. Raises Denied."""
        ...

    async def examined(self, grant: Grant, answer: Answer, /) -> Answer:
        """Raises Denied where slurmrestd refused the credential."""
        ...


class Seats(Protocol):
    """The slots, for whoever is told instead of waiting: `seated(slot)` or `refused(denied)`."""

    def seat(self, identity: Identity, sitter: Any, /) -> None: ...

    def leave(self, identity: Identity, sitter: object, /) -> None: ...


class Express(NamedTuple):
    """What rides of one generation need. `enter` counts a request, unless the generation is retired.

    `holds` tells whether the first stages would decide on the caller as they did, as far as they remember.
    """

    pipeline: Pipeline
    upstream: ExpressUpstream
    seats: Seats
    now: Clock
    new_id: Callable[[], str]
    enter: Callable[[], bool]
    leave: Callable[[], None]
    limit: Limited
    holds: Callable[[Admission], bool]


class Handed(NamedTuple):
    """A ride that goes on as a Visit. `outcome` is None where nothing was sent yet.

    `is_closed`: the last line of its record has been written.
    """

    upstream: ExpressUpstream
    record: AuditRecord
    admission: Admission
    grant: Grant | None
    outcome: Answer | BaseException | None
    started: float
    is_closed: bool


Resume = Callable[[Client, Handed], Coroutine[Any, Any, None]]


class Lane:
    """The decision on one head, and what was made of it."""

    __slots__ = (
        "_asked",
        "_count",
        "_first",
        "_fresh_until",
        "_is_renewing",
        "admission",
        "audit",
        "connected_as",
        "credential",
        "express",
        "has_ended",
        "head",
        "renews_from",
        "resume",
        "seconds",
        "since",
        "until",
    )

    def __init__(self, express: Express, grant: Grant, resume: Resume, record: AuditRecord) -> None:
        self.express = express
        self.audit = express.pipeline.audit
        self.admission, self.credential = admission, credential = grant.admission, grant.credential
        self.connected_as = (credential.user, credential.token.reveal)
        self.head = express.upstream.write_head(grant)
        self.seconds = express.upstream.seconds_for(grant)
        self.resume = resume
        self.has_ended = False
        self._stand_from(record.time)
        self._asked = admission.request[1:]
        self._count = express.limit(admission.identity, admission.call)
        self._first = _beginning(record)

    def takes(self, client: Rider) -> bool:
        """Begin a ride, unless the decision does not stand or the rate is used up, which the stages will tell.

        Called for each repeat. False: not by this, not now.
        """
        express = self.express
        now = express.now()
        if not self.since <= now < self._fresh_until and not self._serves_on(now):
            return False
        if not express.enter():
            self.has_ended = True
            return False
        try:
            lease = self._count()
        except Exception as error:  # noqa: BLE001  # whatever it is, the stages will meet it again
            self.has_ended = not isinstance(error, WouldWait)
            express.leave()
            return False
        Ride(self, client, self._first.again(express.new_id(), now), lease).begin()
        return True

    def request_of(self, record: AuditRecord) -> InboundRequest:
        """What the stages would have made of a repeat; most of them nobody asks."""
        return InboundRequest._make((record.request_id, *self._asked))

    def _stand_from(self, now: float) -> None:
        self._is_renewing = False
        self.since = now
        self.until = min(now + STANDING_SECONDS, self.admission.identity.expires)
        self.renews_from = now + RENEWAL_SECONDS
        self._fresh_until = min(now + LOOK_SECONDS, self.until)

    def _serves_on(self, now: float) -> bool:
        """Whether it still stands, or stands anew, unless this one is to renew it."""
        if now < self.since or not self.express.holds(self.admission):
            self.has_ended = True
            return False
        if now >= self.renews_from and self._is_made_again():
            self._stand_from(now)
            return True
        if now >= self.until:
            self.has_ended = True
            return False
        if now >= self.renews_from and not self._is_renewing:
            self._is_renewing = True
            return False
        self._fresh_until = min(now + LOOK_SECONDS, self.until)
        return True

    def _is_made_again(self) -> bool:
        try:
            return self.express.pipeline.decides_again(self.admission, self.credential)
        except Exception:  # noqa: BLE001  # whatever it is, the stages will meet it again
            return False

    def stands(self, now: float) -> bool:
        """Whether the decision, and the credential with it, is young enough."""
        return self.since <= now < self.until


def _beginning(record: AuditRecord) -> AuditRecord:
    """What is known of a request that has only been read and decided on. `request` keeps the id of the first."""
    begun = AuditRecord(record.request_id, record.time, record.method)
    begun.identity, begun.user, begun.call = record.identity, record.user, record.call
    begun.client_address, begun.forwarded_for = record.client_address, record.forwarded_for
    begun.request, begun.wording = record.request, record.wording
    # what a ride writes has its place in every copy already, which otherwise grew for it
    begun.granted, begun.rule, begun.opened = False, "", ""
    begun.status, begun.bytes_out, begun.complete = 0, 0, False
    begun.upstream_seconds = begun.total_seconds = 0.0
    return begun


class Ride:
    """One request on its way by callbacks; told by the slots, the connection and the client."""

    __slots__ = (
        "_client",
        "_has_waited",
        "_is_closed",
        "_is_over",
        "_lane",
        "_lease",
        "_line",
        "_record",
        "_slot",
        "_started",
    )

    def __init__(self, lane: Lane, client: Rider, record: AuditRecord, lease: Lease) -> None:
        self._lane = lane
        self._client = client
        self._record = record
        self._lease = lease
        self._slot: Lease | None = None
        self._line: Line | None = None
        self._has_waited = self._is_over = self._is_closed = False
        self._started = monotonic()

    def begin(self) -> None:
        """Wait for a slot."""
        self._client.watch(self._gone)
        lane = self._lane
        try:
            lane.express.seats.seat(lane.admission.identity, self)
            self._has_waited = self._slot is None
        except Exception as error:  # noqa: BLE001  # busy, or a fault of ours
            self._hand_over(error)

    def seated(self, slot: Lease) -> None:
        """Called by the slots: record the request and send it."""
        self._slot = slot
        try:
            self._send(slot)
        except Exception as error:  # noqa: BLE001  # whoever calls serves others too
            self._hand_over(error)

    def _send(self, slot: Lease) -> None:
        lane, record, call = self._lane, self._record, self._lane.admission.call
        if self._has_waited and not lane.stands(lane.express.now()):
            return self._hand_over(None)
        record.granted, record.rule = True, call.rule
        try:
            waits = lane.audit.begin(record, self._unwritten)
        except BaseException:
            record.granted = False  # nothing was sent
            raise
        if self._is_over:
            return None
        line = None
        if not waits:
            line = lane.express.upstream.take(lane.connected_as, call.version, slot)
        if line is None:
            return self._hand_over(None)
        self._line = line
        return line.ask(lane.head, self, lane.seconds)

    def _unwritten(self, denied: Denied) -> None:
        """Called by the audit, before the head is sent: it never is, by a connection that has ended."""
        if self._line is not None:
            self._line.forsake(self)
        self._hand_over(denied)

    def refused(self, denied: Denied) -> None:
        """Called by the slots: it has waited too long."""
        self._hand_over(denied)

    # told by the connection, as a Future is

    def done(self) -> bool:
        """Whether nobody waits any more."""
        return self._is_over

    def set_result(self, answer: Answer) -> None:
        """The head of the answer has come, and mostly all of it."""
        if self._is_over:
            return answer.close()
        try:
            return self._deliver(answer)
        except Exception as error:  # noqa: BLE001  # whoever calls serves others too
            return self._hand_over(error)

    def set_exception(self, error: BaseException) -> None:
        """No whole answer will come."""
        self._hand_over(error)

    def _deliver(self, answer: Answer) -> None:
        record, client, whole, head = self._record, self._client, answer.whole, answer.head
        if whole is None or head.status >= _FIRST_ERROR_STATUS or not client.is_ready():
            return self._hand_over(answer)
        record.status, record.bytes_out, record.complete = head.status, len(whole), True
        record.upstream_seconds = answer.seconds
        record.total_seconds = monotonic() - self._started
        self._is_closed = True
        lane = self._lane
        if lane.audit.end(record):
            return self._hand_over(answer)
        self._is_over = True  # from here on nothing fails
        self._lease.release()
        lane.express.leave()
        lines = head.lines + f"x-request-id: {record.request_id}\r\n".encode()
        client.respond(head.status, lines, whole)
        return None

    # what is not straight

    def _gone(self) -> None:
        """The client has hung up, or the server has."""
        if self._line is not None:
            self._line.forsake(self)
        elif self._slot is None:
            self._lane.express.seats.leave(self._lane.admission.identity, self)
        is_cut = self._client.is_cut
        reason = Denied(Reason.SHUTTING_DOWN, "cut off") if is_cut else Denied(Reason.CLIENT_CLOSED)
        self._hand_over(reason)

    def _hand_over(self, outcome: Answer | BaseException | None) -> None:
        if not self._is_over:
            self._lane.audit.flush()  # which may tell that it is over another way
        if self._is_over:
            return
        self._is_over = True
        self._client.unwatch()
        lane, record, slot = self._lane, self._record, self._slot
        record.request = asked = lane.request_of(record)
        admission = lane.admission._replace(request=asked, lease=self._lease)
        grant = None if slot is None else Grant(admission, None, lane.credential, slot)
        upstream, resume = lane.express.upstream, lane.resume
        handed = Handed(upstream, record, admission, grant, outcome, self._started, self._is_closed)
        self._client.hand_over(lambda client: resume(client, handed))


def has_lane(grant: Grant, answer: Answer) -> bool:
    """Whether repeats may ride: plain reads of a READ class, with a token, that were answered at once and well."""
    request, call = grant.admission.request, grant.admission.call
    return (
        grant.body is None
        and request.length == 0
        and request.bearer
        is not None  # a session may be ended from elsewhere, and that holds at once
        and not request.idempotency_key
        and not call.own_jobs_only
        and call.selection is None
        and not may_change_state(call)
        and answer.came_straight
        and answer.head.status < _FIRST_ERROR_STATUS
    )
