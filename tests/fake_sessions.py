"""A SessionStore in memory, held to the same contract as the file."""

from collections.abc import Sequence
from dataclasses import replace

from gateway.sign_in.session import Room, Session, SessionDoubt, SessionsExceeded


class FakeSessionStore:
    """`is_broken` makes every call fail."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.used: dict[str, float] = {}
        self.is_broken = False
        self.finds = 0

    def _check(self) -> None:
        if self.is_broken:
            raise SessionDoubt("disk full")

    async def create(self, session: Session, room: Room) -> Sequence[str]:
        self._check()
        if len(self.sessions) >= room.in_all:
            raise SessionsExceeded(f"{room.in_all} sessions")
        surplus = (await self.of_subject(session.issuer, session.subject))[room.each - 1 :]
        for one in surplus:
            del self.sessions[one.id_hash]
        self.sessions[session.id_hash] = session
        return [one.id_hash for one in surplus]

    async def find(self, id_hash: str) -> Session | None:
        self._check()
        self.finds += 1
        return self.sessions.get(id_hash)

    async def touch(self, id_hash: str, last_used: float) -> None:
        self._check()
        held = self.sessions.get(id_hash)
        if held is not None:
            self.sessions[id_hash] = replace(held, last_used=max(held.last_used, last_used))

    async def replace(self, session: Session) -> bool:
        self._check()
        held = self.sessions.get(session.id_hash)
        if held is None or held.version != session.version - 1:
            return False
        self.sessions[session.id_hash] = replace(
            held,
            sid=session.sid,
            checked=session.checked,
            sealed=session.sealed,
            version=session.version,
        )
        return True

    async def end(self, id_hash: str) -> bool:
        self._check()
        return self.sessions.pop(id_hash, None) is not None

    async def end_all_once(
        self, key: str, expires: float, issuer: str, subject: str, sid: str = ""
    ) -> Sequence[str] | None:
        self._check()
        if not await self.use_once(key, expires):
            return None
        ended = [
            one.id_hash
            for one in self.sessions.values()
            if (subject or sid)
            and one.issuer == issuer
            and subject in ("", one.subject)
            and (sid in ("", one.sid) or (not one.sid and subject))
        ]
        for id_hash in ended:
            del self.sessions[id_hash]
        return ended

    async def of_subject(self, issuer: str, subject: str) -> Sequence[Session]:
        self._check()
        mine = [
            one for one in self.sessions.values() if (one.issuer, one.subject) == (issuer, subject)
        ]
        return sorted(mine, key=lambda one: (-one.last_used, one.id_hash))

    async def use_once(self, key: str, expires: float) -> bool:
        self._check()
        if key in self.used:
            return False
        self.used[key] = expires
        return True

    async def purge(self, now: float, idle_seconds: float) -> int:
        self._check()
        self.used = {key: expires for key, expires in self.used.items() if expires > now}
        over = [
            one.id_hash
            for one in self.sessions.values()
            if one.ends <= now or one.last_used + idle_seconds <= now
        ]
        for id_hash in over:
            del self.sessions[id_hash]
        return len(over)
