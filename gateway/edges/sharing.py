"""A Grant to read -> may its answer be that of all users, and the same Grant as the user whom all share.

Nobody shares unless the site says in so many words that PrivateData is empty. Where the API tells what it
is (v0.0.45), that is looked at every minute, and any doubt ends the sharing. Whatever is shared was
fetched as an unprivileged user: should the site be wrong, Slurm shows that user nothing of others'.
"""

from collections.abc import Coroutine
from typing import Any, Final, Protocol

import orjson

from gateway.denial import Denied
from gateway.edges.one_flight import OneFlight
from gateway.edges.upstream_answer import Answer, UpstreamFailed
from gateway.model import (
    AuthorizedCall,
    Clock,
    ClusterUser,
    Grant,
    Identity,
    Lease,
    Operation,
    Risk,
    Secret,
    UpstreamCredential,
)
from gateway.request.media_type import JSON
from gateway.stages.breaker import Daemon, daemon_of

_CONF = Operation("GET", "/slurm/{version}/conf", Risk.READ_SENSITIVE, False, False)
_VERSION: Final = "v0.0.45"
_OK: Final = 200
_NOT_FOUND: Final = 404
_MOST_BYTES: Final = 1_048_576
SECONDS_BETWEEN_LOOKS: Final = 60.0
SECONDS_AFTER_A_DOUBT: Final = 10.0


class Upstream(Protocol):
    """slurmrestd. Releases the grant's slot as soon as the answer is complete. Raises Denied."""

    def send(self, grant: Grant) -> Coroutine[Any, Any, Answer]: ...


class Slots(Protocol):
    """A fair share of slurmrestd's few connections."""

    async def acquire(self, identity: Identity) -> Lease: ...


class Issue(Protocol):
    """The token that slurmrestd takes for a user. Raises Denied."""

    async def __call__(
        self, identity: Identity, user: ClusterUser, bearer: Secret | None
    ) -> UpstreamCredential: ...


class Sharing:
    """`user` is the one whom all share."""

    def __init__(
        self, user: str, issue: Issue, upstream: Upstream, slots: Slots, monotonic: Clock
    ) -> None:
        self.user = user
        self._issue = issue
        self._upstream = upstream
        self._slots = slots
        self._monotonic = monotonic
        self._looking: OneFlight[str, bool] = OneFlight()
        self._is_empty = False
        self._until = float("-inf")

    async def holds(self, grant: Grant) -> bool:
        """Whether this call's answer is everybody's at the moment. Never raises."""
        if daemon_of(grant.admission.call) is not Daemon.SLURMCTLD or grant.credential.is_callers:
            return False
        if self._monotonic() >= self._until:
            return await self._looking.join("", lambda: self._look(grant))
        return self._is_empty

    async def as_shared(self, grant: Grant) -> Grant:
        """Nothing of the caller is in it. Raises Denied."""
        credential = await self._issue(grant.admission.identity, ClusterUser(self.user, ()), None)
        return grant._replace(credential=credential)

    async def _look(self, grant: Grant) -> bool:
        try:
            is_empty = await self._says_empty(grant)
        except (Denied, UpstreamFailed):
            is_empty = False
        now = self._monotonic()
        self._until = now + (SECONDS_BETWEEN_LOOKS if is_empty else SECONDS_AFTER_A_DOUBT)
        self._is_empty = is_empty
        return is_empty

    async def _says_empty(self, grant: Grant) -> bool:
        target = _CONF.template.replace("{version}", _VERSION).encode("ascii")
        call = AuthorizedCall(_CONF, _VERSION, target, _CONF.risk, "cache.share_as")
        request = grant.admission.request._replace(accept=JSON, media_type="", length=0)
        admission = grant.admission._replace(call=call, request=request)
        shared = await self.as_shared(grant._replace(admission=admission))
        slot = await self._slots.acquire(grant.admission.identity)
        try:
            answer = await self._upstream.send(shared._replace(slot=slot))
            try:
                is_whole = await answer.read_all(_MOST_BYTES)
            finally:
                answer.close()
        finally:
            slot.release()
        return is_whole and is_empty(answer.head.status, answer.whole or b"")


def is_empty(status: int, body: bytes) -> bool:
    """What slurmctld says of PrivateData. Where the API knows no such question, the site's word stands."""
    if status == _NOT_FOUND:
        return True
    if status != _OK:
        return False
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    conf = answer.get("slurm_conf") if isinstance(answer, dict) else None
    return isinstance(conf, dict) and conf.get("PrivateData") == []
