"""What the gateway keeps of somebody who has signed in, and the store that keeps it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

_HANDLE_DIGITS = 16


class SessionDoubt(Exception):
    """The store cannot be asked. The text says why, for the audit."""


class SessionsExceeded(Exception):
    """There is no room for one more session."""


@dataclass(frozen=True, slots=True)
class Session:
    """One browser's session. Times are seconds since the epoch; all of it can be serialised.

    `id_hash` is the SHA-256 of the cookie's value, which is kept nowhere. `client` is the name of the
    sign-in client, `sid` the provider's own session id (OpenID Connect Back-Channel Logout, section 2.1).
    `sealed` holds claims and tokens, encrypted. `version` counts its changes.
    """

    id_hash: str
    client: str
    issuer: str
    subject: str
    sid: str
    created: float
    last_used: float
    ends: float
    checked: float
    address: str
    agent: str
    sealed: bytes
    version: int = 1

    @property
    def handle(self) -> str:
        """What people and commands call it; nobody can sign in with it."""
        return self.id_hash[:_HANDLE_DIGITS]


class Room(NamedTuple):
    """How many sessions there may be, of one subject and in all."""

    each: int
    in_all: int


class SessionStore(Protocol):
    """Sessions, and values that may be used once. Each method raises SessionDoubt where it cannot be done."""

    async def create(self, session: Session, room: Room) -> Sequence[str]:
        """Keep one more; the id hashes of those of the same subject that had to end for it.

        Raises SessionsExceeded.
        """
        ...

    async def find(self, id_hash: str) -> Session | None:
        """As it is now, whether its time is over or not."""
        ...

    async def touch(self, id_hash: str, last_used: float) -> None:
        """It was used; never back in time."""
        ...

    async def replace(self, session: Session) -> bool:
        """Change `sid`, `checked` and `sealed` where the stored version is the one before; whether it was."""
        ...

    async def end(self, id_hash: str) -> bool:
        """Forget one; whether there was one."""
        ...

    async def end_all_once(
        self, key: str, expires: float, issuer: str, subject: str, sid: str = ""
    ) -> Sequence[str] | None:
        """Forget those of a subject, of a provider's session, or of both where both are given; their id hashes.

        A session of the subject whose own `sid` is not known may be the one that is meant, and goes too.
        None where the key was used before. Both or neither are done: what fails may be tried again.
        """
        ...

    async def of_subject(self, issuer: str, subject: str) -> Sequence[Session]:
        """All of one subject, the last used first."""
        ...

    async def use_once(self, key: str, expires: float) -> bool:
        """Whether this key was never used before; it is remembered until it expires."""
        ...

    async def purge(self, now: float, idle_seconds: float) -> int:
        """Forget what is over; how many sessions that were."""
        ...


def hash_of(session_id: str) -> str:
    """What is kept of an id. It is random enough that no salt or stretching is needed."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def is_over(session: Session, now: float, idle_seconds: float) -> bool:
    """Idle for too long, or at its absolute end."""
    return now >= session.ends or now >= session.last_used + idle_seconds
