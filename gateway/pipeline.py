"""The order of the stages: (InboundRequest) -> Admission, then (Admission, Body) -> Grant, or Denied."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gateway.denial import Denied
from gateway.model import (
    Admission,
    AuditRecord,
    AuthorizedCall,
    Beside,
    Body,
    ClusterUser,
    Grant,
    Identity,
    InboundRequest,
    Lease,
    NoLease,
    Secret,
    UpstreamCredential,
)

T = TypeVar("T")


class Authenticate(Protocol):
    """Who does the identity provider say this is?"""

    async def __call__(self, request: InboundRequest) -> Identity: ...


class MapUser(Protocol):
    """Which account of the cluster is this identity?"""

    async def __call__(self, identity: Identity) -> ClusterUser: ...


class Authorize(Protocol):
    """Which allowlisted operation is asked for, and may this user have it?"""

    def __call__(
        self, request: InboundRequest, identity: Identity, user: ClusterUser
    ) -> AuthorizedCall: ...


class CheckBody(Protocol):
    """Does the announced body fit the operation?"""

    def __call__(self, request: InboundRequest, call: AuthorizedCall) -> None: ...


class BodyRules(Protocol):
    """May the caller's roles ask for what stands in this body? The body to be forwarded."""

    async def __call__(self, admission: Admission, body: Body) -> Body: ...


class CheckKey(Protocol):
    """Does an Idempotency-Key mean anything for this operation?"""

    def __call__(self, request: InboundRequest, call: AuthorizedCall) -> None: ...


def ignore_key(request: InboundRequest, call: AuthorizedCall) -> None:
    """Where nothing is known of keys."""


class RememberKey(Protocol):
    """Bring an Idempotency-Key to disk beside the first record; None where it means nothing."""

    def __call__(
        self, admission: Admission, body: Body | None, slot: Lease, /
    ) -> Beside | None: ...


def remember_nothing(admission: Admission, body: Body | None, slot: Lease) -> Beside | None:
    """Where nothing is known of keys."""


class OwnJobs(Protocol):
    """Does the call reach the caller's own jobs alone? The body to be forwarded."""

    async def __call__(
        self, admission: Admission, body: Body | None, credential: UpstreamCredential
    ) -> Body | None: ...


class Limit(Protocol):
    """Is there room for one more request of this identity and class? The lease ends with it."""

    async def __call__(self, identity: Identity, call: AuthorizedCall) -> Lease: ...


class Slots(Protocol):
    """A fair share of slurmrestd's few connections, waited for in a bounded queue."""

    async def acquire(self, identity: Identity) -> Lease: ...


class IssueCredential(Protocol):
    """The token that slurmrestd takes for this user, never outliving the caller's own."""

    async def __call__(
        self, identity: Identity, user: ClusterUser, bearer: Secret | None
    ) -> UpstreamCredential: ...


class AuditLog(Protocol):
    """`open` before anything is forwarded, `close` when all is over, exactly once a request."""

    async def open(self, record: AuditRecord) -> None: ...

    async def close(self, record: AuditRecord) -> None: ...

    def begin(self, record: AuditRecord, unwritten: Callable[[Denied], None], /) -> bool:
        """The same for a read at once: written by the end of this turn of the event loop, and before
        anything else of that turn is sent. Raises Denied, or calls `unwritten`, maybe within `flush`.

        Whether `settle` has to be waited for first.
        """
        ...

    def end(self, record: AuditRecord, /) -> bool:
        """In the same way, for a read that was answered well and whole; `close` has more to say."""
        ...

    def flush(self) -> None:
        """Have written what those two were given."""

    async def settle(self) -> None:
        """Wait for what `begin` and `end` have written, where they wait. Raises Denied."""


_NO_LEASE = NoLease()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of one configuration generation, joined."""

    authenticate: Authenticate
    map_user: MapUser
    authorize: Authorize
    check_body: CheckBody
    limit: Limit
    body_rules: BodyRules
    slots: Slots
    credential: IssueCredential
    own_jobs: OwnJobs
    audit: AuditLog
    check_key: CheckKey = ignore_key
    remember_key: RememberKey = remember_nothing
    goes_without_slot: Callable[[Admission], bool] | None = None
    """Whether an answer may be there already, so that whoever has to fetch it takes the slot."""

    async def admit(self, request: InboundRequest, record: AuditRecord) -> Admission:
        """Decide on the head alone. The caller releases the lease of the Admission."""
        record.request = request
        record.identity = identity = await self.authenticate(request)
        record.user = user = await self.map_user(identity)
        record.call = call = self.authorize(request, identity, user)
        self.check_body(request, call)
        if request.idempotency_key:
            self.check_key(request, call)
        lease = await self.limit(identity, call)
        return Admission(request, identity, user, call, lease)

    async def settle(self, admission: Admission, body: Body | None, record: AuditRecord) -> Grant:
        """Take what forwarding needs, the credential last: none exists for what is not sent.

        The caller releases the slot of the Grant.
        """
        if body is not None and admission.call.has_body_rules:
            body = await self._ruled(admission, body, record)
        slot: Lease = _NO_LEASE
        if self.goes_without_slot is None or not self.goes_without_slot(admission):
            slot = await self.slots.acquire(admission.identity)
        try:
            credential = await self.credential(
                admission.identity, admission.user, admission.request.bearer
            )
            if admission.call.own_jobs_only:
                body = await self._held(admission, body, credential, record)
            record.granted, record.rule = True, admission.call.rule
            if admission.request.idempotency_key:
                record.beside = self.remember_key(admission, body, slot)
            await self.audit.open(record)
        except BaseException:
            record.granted = False  # nothing was sent
            if record.beside is not None:
                record.beside.drop()
                record.beside = None
            slot.release()
            raise
        return Grant(admission, body, credential, slot, record.beside)

    async def renew(self, grant: Grant, record: AuditRecord) -> Grant:
        """What `settle` does behind the slot, for a read that nothing was recorded of yet."""
        request, identity, user, call, _ = grant.admission
        try:
            credential = await self.credential(identity, user, request.bearer)
            record.granted, record.rule = True, call.rule
            await self.audit.open(record)
        except BaseException:
            record.granted = False  # nothing was sent
            raise
        return grant._replace(credential=credential)

    def decides_again(self, admission: Admission, credential: UpstreamCredential) -> bool:
        """Whether a read of the same caller gets this call and this credential, as far as that is at hand.

        False where it has to be waited for. Raises Denied.
        """
        request, identity, user, call, _ = admission
        if self.authorize(request, identity, user) != call:
            return False
        given = _at_hand(self.credential(identity, user, request.bearer))
        return (
            given is not None and given.user == credential.user and given.token is credential.token
        )

    async def _ruled(self, admission: Admission, body: Body, record: AuditRecord) -> Body:
        """The body as the caller's roles admit it; the record has the hash of the one that came."""
        settled = await self.body_rules(admission, body)
        if settled is not body:
            record.note = "forced fields were written into the body"
        return settled

    async def _held(
        self,
        admission: Admission,
        body: Body | None,
        credential: UpstreamCredential,
        record: AuditRecord,
    ) -> Body | None:
        """The body that reaches the caller's own jobs alone."""
        settled = await self.own_jobs(admission, body, credential)
        if settled is not body:
            record.note = "the body's filter was set to the caller"
        return settled


def _at_hand(asking: Coroutine[Any, Any, T]) -> T | None:
    """What a stage gives without waiting for anything; where it would wait, it is ended."""
    try:
        asking.send(None)
    except StopIteration as done:
        given: T = done.value
        return given
    asking.close()
    return None


def note_denial(record: AuditRecord, denied: Denied) -> None:
    """Write a refusal into the record."""
    record.granted = False
    record.code = denied.reason.code
    record.status = denied.reason.status
    record.rule = denied.rule or record.rule
    record.note = denied.note
