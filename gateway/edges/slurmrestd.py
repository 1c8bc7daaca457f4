"""Grant -> slurmrestd's Answer, or Denied: never sent twice where it could run twice."""

import asyncio
import logging
from dataclasses import dataclass

from gateway.denial import Denied, Reason
from gateway.edges.upstream_answer import (
    Answer,
    Failure,
    UpstreamFailed,
    denied,
    outcome,
)
from gateway.edges.upstream_connection import Credential, UpstreamConnection
from gateway.edges.upstream_pool import Address, ConnectFailed, UpstreamPool
from gateway.edges.upstream_probe import Finding, ReuseProbe, diag
from gateway.model import Grant, Lease, UpstreamCredential
from gateway.stages.forward import Patience, RequestHead, may_change_state
from gateway.stages.forward_result import PROMPT_SECONDS, is_refusal, may_be_refusal

_FIRST_ERROR_STATUS = 400
_MOST_ERROR_BYTES = 1_048_576
_SECONDS_BETWEEN_PROBES = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """What is known of slurmrestd, for /readyz. None where nothing was tried yet."""

    is_reachable: bool | None
    is_credential_refused: bool
    checks_each_request: bool | None
    connections: int
    unused_connections: int


class Slurmrestd:
    """Forwards grants over the pool, finds out what may be reused, tells refused credentials apart."""

    def __init__(
        self,
        address: Address,
        pool: UpstreamPool,
        patience: Patience,
        prompt_seconds: float = PROMPT_SECONDS,
    ) -> None:
        self._pool = pool
        self._prompt_seconds = prompt_seconds
        self._patience = patience
        self._head = RequestHead(address.host_header)
        self._probe = ReuseProbe(pool, self._head, prompt_seconds)
        self._finding = Finding.NOTHING
        self._found_in = -1
        self._next_probe = 0.0
        self._probing: asyncio.Task[None] | None = None
        self._is_credential_refused = False
        pool.on_kept = self._consider_probe

    async def send(self, grant: Grant) -> Answer:
        """Forward once; a read on a connection that had gone stale once more. Raises Denied.

        The slot is released when the answer is complete; the caller releases it in every other case.
        """
        try:
            answer = await self._exchange(grant, self.write_head(grant), fresh=False)
        except UpstreamFailed as failure:
            answer = await self.recover(grant, failure)
        return await self.examined(grant, answer)

    async def recover(self, grant: Grant, failure: UpstreamFailed) -> Answer:
        """A read on a connection that had gone stale once more. Raises Denied for everything else."""
        call = grant.admission.call
        if not failure.reused or failure.failure is not Failure.LOST or may_change_state(call):
            raise denied(failure, call) from failure
        return await self._again(grant, self.write_head(grant))

    async def examined(self, grant: Grant, answer: Answer) -> Answer:
        """The answer, unless it says that the credential was refused. Raises Denied."""
        if answer.head.status >= _FIRST_ERROR_STATUS:
            await self._examine(answer, grant)
        elif self._is_credential_refused and grant.admission.call.version:
            self._is_credential_refused = False
        return answer

    # without waiting

    def write_head(self, grant: Grant) -> bytes:
        """What is sent before the body."""
        request, body = grant.admission.request, grant.body
        return self._head(
            grant.admission.call,
            grant.credential,
            request.accept,
            request.media_type,
            None if body is None else body.length,
        )

    def seconds_for(self, grant: Grant) -> float:
        """How long the first byte of an answer may take."""
        return self._patience.seconds_for(grant.admission.call)

    def take(self, credential: Credential, version: str, slot: Lease) -> UpstreamConnection | None:
        """A kept connection, if there is one; the slot goes with it."""
        connection = self._pool.take(credential)
        if connection is not None:
            connection.lease, connection.version = slot, version
        return connection

    async def _exchange(self, grant: Grant, head: bytes, *, fresh: bool) -> Answer:
        connection = None
        if not fresh:
            key = (grant.credential.user, grant.credential.token.reveal)
            connection = self.take(key, grant.admission.call.version, grant.slot)
        if connection is None:
            connection = await self._open(grant)
        return await connection.exchange(head, grant.body, self.seconds_for(grant))

    async def _open(self, grant: Grant) -> UpstreamConnection:
        credential, call = grant.credential, grant.admission.call
        try:
            connection = await self._pool.open((credential.user, credential.token.reveal))
        except ConnectFailed as failure:
            raise Denied(
                Reason.UPSTREAM_UNREACHABLE,
                f"connect: {failure}",
                headers=(("Retry-After", "5"),),
                members=outcome(call, "not-run"),
            ) from failure
        connection.lease, connection.version = grant.slot, call.version
        return connection

    async def _again(self, grant: Grant, head: bytes) -> Answer:
        """The retry of a read on a new connection."""
        if grant.body is not None:
            grant.body.rewind()
        try:
            return await self._exchange(grant, head, fresh=True)
        except UpstreamFailed as failure:
            raise denied(failure, grant.admission.call) from failure

    # errors: whose fault are they?

    async def _examine(self, answer: Answer, grant: Grant) -> None:
        """Pass slurmrestd's own errors; raise Denied where it refused the credential."""
        try:
            await answer.read_all(_MOST_ERROR_BYTES)
            await self._find_refusal(answer, grant)
        except UpstreamFailed as failure:
            answer.close()
            raise denied(failure, grant.admission.call) from failure
        except BaseException:
            answer.close()
            raise
        answer.when_arrived(grant.slot.release)

    async def _find_refusal(self, answer: Answer, grant: Grant) -> None:
        call, status = grant.admission.call, answer.head.status
        if is_refusal(status):
            raise self._refused(grant, f"slurmrestd said {status}", "not-run")
        prompt = call.version and answer.seconds < self._prompt_seconds
        doubtful = prompt and may_be_refusal(status, answer.whole or b"")
        if doubtful and await self._is_diag_refused(grant.credential, call.version):
            raise self._refused(grant, f"{status}, and diag fails too", "unknown")

    def _refused(self, grant: Grant, note: str, word: str) -> Denied:
        """One caller's own bad token must not take the gateway out of service for everybody."""
        if not grant.credential.is_callers:
            self._is_credential_refused = True
        members = outcome(grant.admission.call, word)
        return Denied(Reason.CREDENTIAL_REFUSED, note, members=members)

    async def _is_diag_refused(self, credential: UpstreamCredential, version: str) -> bool:
        """Whether the same credential is refused, promptly, for a read that any user may make."""
        head, seconds = self._head(diag(version), credential), self._prompt_seconds
        try:
            connection = await self._pool.open((credential.user, credential.token.reveal))
            connection.reserved = True
            try:
                answer = await connection.exchange(head, None, seconds)
                await answer.read_all(_MOST_ERROR_BYTES)
            finally:
                connection.close()
        except (ConnectFailed, UpstreamFailed):
            return False
        status, body = answer.head.status, answer.whole or b""
        return is_refusal(status) or (answer.seconds < seconds and may_be_refusal(status, body))

    # may connections be shared?

    def _consider_probe(self, connection: UpstreamConnection, lease: Lease | None) -> bool:
        """Take a connection that has just served someone for a probe, where one is due."""
        now = connection.idle_since
        if self._found_in == self._pool.generation or not connection.version:
            return False
        if self._probing is not None or now < self._next_probe or not self._pool.has_room:
            return False
        self._next_probe = now + _SECONDS_BETWEEN_PROBES
        connection.reserved = True
        self._probing = asyncio.get_running_loop().create_task(self._prove(connection, lease))
        return True

    async def _prove(self, connection: UpstreamConnection, lease: Lease | None) -> None:
        try:
            finding = await self._probe(connection, connection.version)
            if finding is not Finding.NOTHING:
                self._finding, self._found_in = finding, connection.generation
                _log.info("slurmrestd: %s", finding.value)
        finally:
            self._probing = None
            if lease is not None:
                lease.release()

    @property
    def state(self) -> UpstreamState:
        """For /readyz and the metrics."""
        known = self._found_in == self._pool.generation
        return UpstreamState(
            self._pool.is_reachable,
            self._is_credential_refused,
            self._finding is Finding.EACH_REQUEST if known else None,
            self._pool.opened,
            self._pool.unused,
        )

    async def close(self) -> None:
        """Close all connections and end a probe under way."""
        if self._probing is not None:
            self._probing.cancel()
            await asyncio.wait([self._probing])
        self._pool.close()
