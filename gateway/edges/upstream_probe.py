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
    """A bad token on a connection that has served a good one.

    A second connection, the witness, is opened before and serves the good token afterwards: so it
    was one and the same slurmrestd all along, and slurmctld was there to check tokens.
    """

    def __init__(self, pool: UpstreamPool, head: RequestHead, prompt_seconds: float) -> None:
        self._pool = pool
        self._head = head
        self._prompt_seconds = prompt_seconds

    async def __call__(self, connection: UpstreamConnection, version: str) -> Finding:
        """Both connections go back to the pool, unless nothing was found."""
        finding = Finding.NOTHING
        try:
            witness = await self._pool.open_witness(connection.credential)
            finding = await self._find(connection, witness, version)
        except (UpstreamFailed, ConnectFailed):
            return finding
        finally:
            finding = self._conclude(connection, finding)
        return finding

    def _conclude(self, connection: UpstreamConnection, finding: Finding) -> Finding:
        """A witness that a lapse has closed in the meantime has not answered, so nothing was found."""
        if finding is Finding.EACH_REQUEST:
            self._pool.share()
            return finding
        self._pool.dismiss_witness()
        if finding is Finding.ONCE:
            self._pool.keep(connection)
        else:
            connection.close()
        return finding

    async def _find(
        self, connection: UpstreamConnection, witness: UpstreamConnection, version: str
    ) -> Finding:
        user, token = connection.credential
        good = UpstreamCredential(user, Secret(token))
        if not await self._is_served(connection, version, good) or not connection.is_fresh():
            return Finding.NOTHING
        bad = await self._ask(connection, version, UpstreamCredential(user, _BAD_TOKEN))
        if not await self._is_served(witness, version, good) or not witness.is_fresh():
            return Finding.NOTHING
        if bad.head.status == _OK and connection.is_fresh():
            return Finding.ONCE
        return Finding.EACH_REQUEST if is_refused(bad) else Finding.NOTHING

    async def _is_served(
        self, connection: UpstreamConnection, version: str, credential: UpstreamCredential
    ) -> bool:
        answer = await self._ask(connection, version, credential)
        return answer.head.status == _OK and answer.head.keep_alive

    async def _ask(
        self, connection: UpstreamConnection, version: str, credential: UpstreamCredential
    ) -> Answer:
        head = self._head(diag(version), credential)
        answer = await connection.exchange(head, None, self._prompt_seconds)
        try:
            await answer.read_all(_MOST_ANSWER_BYTES)
        finally:
            answer.close()
        return answer


def is_refused(answer: Answer) -> bool:
    """Whether an answer to `diag` says for certain that the token was not taken."""
    status, body = answer.head.status, answer.whole or b""
    return is_refusal(status) or is_unspecified_error(status, body)
