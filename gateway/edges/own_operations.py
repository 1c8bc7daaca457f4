"""A Grant for one of the gateway's own operations -> its answer; other grants -> slurmrestd.

They stand where forwarding stands, behind every stage: who may have them, how often, and what the
audit says of it is decided as for every other call.
"""

import time
from collections.abc import Coroutine
from typing import Any, Final, Protocol

import orjson

from gateway.denial import Denied, Reason
from gateway.edges.upstream_answer import Answer
from gateway.model import Admission, ClusterUser, Grant, Identity
from gateway.stages.credential import HandedOut
from gateway.stages.forward import own_head

USER: Final = "/gateway/user"
SLURM_TOKEN: Final = "/gateway/slurm-token"  # noqa: S105 (an address)
OWN: Final = frozenset({USER, SLURM_TOKEN})
_OK = 200
_HEADERS = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


class Upstream(Protocol):
    """slurmrestd. Releases the grant's slot as soon as the answer is complete. Raises Denied."""

    def send(self, grant: Grant) -> Coroutine[Any, Any, Answer]: ...


class Permissions(Protocol):
    """The stage that decides on calls, asked which roles are held."""

    def roles_of(self, admission: Admission, /) -> tuple[str, ...]: ...


class HandOut(Protocol):
    """Makes a Slurm token that leaves the gateway. Raises Denied."""

    async def __call__(self, identity: Identity, user: ClusterUser) -> HandedOut: ...


class OwnOperations:
    """An Upstream for everything. `hand_out` is None where the gateway makes no tokens."""

    def __init__(
        self, upstream: Upstream, permissions: Permissions, cluster: str, hand_out: HandOut | None
    ) -> None:
        self._upstream = upstream
        self._permissions = permissions
        self._cluster = cluster
        self._hand_out = hand_out
        self._answers = {USER: self._user, SLURM_TOKEN: self._slurm_token}

    def send(self, grant: Grant) -> Coroutine[Any, Any, Answer]:
        """See Upstream."""
        answer = self._answers.get(grant.admission.call.operation.template)
        return self._upstream.send(grant) if answer is None else answer(grant)

    async def _user(self, grant: Grant) -> Answer:
        grant.slot.release()  # nothing is asked of slurmrestd
        admission = grant.admission
        identity, user = admission.identity, admission.user
        return _answer(
            {
                "cluster": self._cluster,
                "user": user.name,
                "uid": user.uid,
                "roles": self._permissions.roles_of(admission),
                "issuer": identity.issuer,
                "subject": identity.subject,
                "client_id": identity.client_id,
                "kind": identity.kind,
                "token_ends": int(identity.expires),
            }
        )

    async def _slurm_token(self, grant: Grant) -> Answer:
        grant.slot.release()
        if self._hand_out is None:
            raise Denied(Reason.SLURM_TOKEN_UNSUPPORTED, rule="credential.provider")
        admission = grant.admission
        made = await self._hand_out(admission.identity, admission.user)
        answer = _answer(
            {
                "user": admission.user.name,
                "slurm_token": made.token.reveal,
                "expires_at": made.expires,
            }
        )
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made.expires))
        answer.note = f"a Slurm token was handed out, good until {until}"
        return answer


def _answer(content: dict[str, object]) -> Answer:
    body = orjson.dumps(content)
    return Answer(own_head(_OK, len(body), _HEADERS), body)
