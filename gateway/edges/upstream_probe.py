"""A kept connection that a good token has opened -> whether slurmrestd checks each request on it, or only the first."""

from enum import Enum

from gateway.edges.upstream_answer import Answer, UpstreamFailed
from gateway.edges.upstream_connection import UpstreamConnection
from gateway.edges.upstream_pool import ConnectFailed, UpstreamPool
from gateway.model import AuthorizedCall, Operation, Risk, Secret, UpstreamCredential
from gateway.stages.forward import RequestHead
from gateway.stages.forward_result import is_refusal, is_unspecified_error

_OK = 200
_MOST_ANSWER_BYTES = 1_048_576
_ANSWER_SECONDS = 15.0
"""slurmrestd takes 9 s to say that slurmctld is down."""
_BAD_TOKEN = Secret("not-a-token")

DIAG = Operation("GET", "/slurm/{version}/diag", Risk.READ, False, False)
"""The cheapest read that needs a good token on all releases; /ping says 200 to a bad one since 24.11."""


class Finding(Enum):
    """What one probe has shown."""

    EACH_REQUEST = "a bad token on a kept connection was refused"
    ONCE = "a bad token on a kept connection was served (20.11)"
    NOTHING = "the probe did not come to an end"


def diag(version: str) -> AuthorizedCall:
    """The call that tells whether a credential is taken."""
    return AuthorizedCall(DIAG, version, f"/slurm/{version}/diag".encode(), Risk.READ, "")


class ReuseProbe:
    """Good token, bad token on the same connection, good token on a new one.

    The third shows that the second was refused for its token, not because slurmctld was away; its
    connection is kept as the witness of the finding.
    """

    def __init__(self, pool: UpstreamPool, head: RequestHead) -> None:
        self._pool = pool
        self._head = head

    async def __call__(
        self, connection: UpstreamConnection, version: str
    ) -> tuple[Finding, UpstreamConnection | None]:
        """The connection is used up."""
        user, token = connection.credential
        good = UpstreamCredential(user, Secret(token))
        try:
            if not await self._is_served(connection, version, good):
                return Finding.NOTHING, None
            if not connection.is_fresh():
                return Finding.NOTHING, None
            bad = await self._ask(connection, version, UpstreamCredential(user, _BAD_TOKEN))
            if bad.head.status == _OK:
                return Finding.ONCE, None
            if not is_refused(bad):
                return Finding.NOTHING, None
            return await self._confirm(connection.credential, version, good)
        except (UpstreamFailed, ConnectFailed):
            return Finding.NOTHING, None
        finally:
            connection.close()

    async def _confirm(
        self, key: tuple[str, str], version: str, good: UpstreamCredential
    ) -> tuple[Finding, UpstreamConnection | None]:
        witness = await self._pool.open(key)
        witness.reserved = True
        if await self._is_served(witness, version, good) and witness.is_fresh():
            return Finding.EACH_REQUEST, witness
        witness.close()
        return Finding.NOTHING, None

    async def _is_served(
        self, connection: UpstreamConnection, version: str, credential: UpstreamCredential
    ) -> bool:
        answer = await self._ask(connection, version, credential)
        return answer.head.status == _OK and answer.head.keep_alive

    async def _ask(
        self, connection: UpstreamConnection, version: str, credential: UpstreamCredential
    ) -> Answer:
        head = self._head(diag(version), credential)
        answer = await connection.exchange(head, None, _ANSWER_SECONDS)
        if not await answer.read_all(_MOST_ANSWER_BYTES):
            answer.abort()
        return answer


def is_refused(answer: Answer) -> bool:
    """Whether an answer to `diag` says for certain that the token was not taken."""
    status, body = answer.head.status, answer.whole or b""
    return is_refusal(status) or is_unspecified_error(status, body)
