"""Session -> a hash in the store that several processes share, there when the call returns."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from gateway.edges.store import Store, StoreAway, StoreRefuses
from gateway.sign_in.session import Room, Session, SessionDoubt, SessionsExceeded

USE: Final = "sessions"
_SCRIPT: Final = Path(__file__).with_name("lua") / "sessions.lua"
_HASH_BYTES: Final = 16


class SharedSessions:
    """The SessionStore of all processes. Each method is one question, and one step in the server."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._script = store.client.register_script(_SCRIPT.read_text("utf-8"))

    async def create(self, session: Session, room: Room) -> Sequence[str]:
        """See SessionStore."""
        places = (self._subject_key(session.issuer, session.subject), self._sid_key(session))
        times = (repr(session.last_used), repr(session.ends))
        told = [part for item in _told(session).items() for part in item]
        try:
            ended = await self._ask(
                "create", room.each, room.in_all, session.id_hash, *places, *times, *told
            )
        except StoreRefuses as error:
            raise SessionsExceeded(f"{room.in_all} sessions") from error
        return [one.decode() for one in ended]

    async def find(self, id_hash: str) -> Session | None:
        """See SessionStore."""
        return _session(await self._ask("find", id_hash))

    async def touch(self, id_hash: str, last_used: float) -> None:
        """See SessionStore."""
        await self._ask("touch", id_hash, repr(last_used))

    async def replace(self, session: Session) -> bool:
        """See SessionStore."""
        told = _told(session)
        changed = [part for name in _CHANGING for part in (name, told[name])]
        before = str(session.version - 1)
        sid = self._sid_key(session)
        return bool(await self._ask("replace", session.id_hash, before, sid, *changed))

    async def end(self, id_hash: str) -> bool:
        """See SessionStore."""
        return bool(await self._ask("end", id_hash))

    async def end_all_once(
        self, key: str, expires: float, issuer: str, subject: str, sid: str = ""
    ) -> Sequence[str] | None:
        """See SessionStore."""
        of_subject = self._subject_key(issuer, subject) if subject else ""
        of_sid = self._key("sid", issuer, sid) if sid else ""
        ended = await self._ask("end_all_once", key, repr(expires), of_subject, of_sid)
        return None if ended is None else [one.decode() for one in ended]

    async def of_subject(self, issuer: str, subject: str) -> Sequence[Session]:
        """See SessionStore."""
        return _sorted(await self._ask("of_subject", self._subject_key(issuer, subject)))

    async def all(self) -> Sequence[Session]:
        """Every session, the last used first. Raises SessionDoubt."""
        return _sorted(await self._ask("all"))

    async def use_once(self, key: str, expires: float) -> bool:
        """See SessionStore."""
        return bool(await self._ask("use_once", key, repr(expires)))

    async def purge(self, now: float, idle_seconds: float) -> int:
        """See SessionStore."""
        return int(await self._ask("purge", repr(now), repr(now - idle_seconds)))

    async def try_out(self) -> None:
        """Write and take away again, as somebody's sign-in would. Raises SessionDoubt."""
        await self._ask("use_once", "", "0")
        await self._ask("purge", "0", "0")

    async def _ask(self, what: str, *values: object) -> Any:
        arguments = [what, *values]
        try:
            return await self._store.run(USE, self._script, [self._store.prefix], arguments)
        except StoreAway as away:
            raise SessionDoubt(f"the store cannot be used: {away}") from None

    def _subject_key(self, issuer: str, subject: str) -> str:
        return self._key("subject", issuer, subject)

    def _sid_key(self, session: Session) -> str:
        return self._key("sid", session.issuer, session.sid) if session.sid else ""

    def _key(self, kind: str, *names: str) -> str:
        """Names are hashed: what a provider calls somebody has any length."""
        text = "".join(f"{len(name)}:{name}" for name in names)
        data = text.encode("utf-8", "surrogatepass")
        return f"{self._store.prefix}:{kind}:{blake2b(data, digest_size=_HASH_BYTES).hexdigest()}"


_CHANGING: Final = ("sid", "checked", "sealed", "version")
_FLOATS: Final = frozenset({"created", "last_used", "ends", "checked"})


def _told(session: Session) -> dict[str, str | bytes]:
    """All fields, by name; the shortest text that gives the same number back."""
    return {
        field.name: value if isinstance(value, bytes) else _text(value)
        for field in fields(session)
        if (value := getattr(session, field.name)) is not None
    }


def _text(value: object) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _session(pairs: Sequence[bytes]) -> Session | None:
    """A hash as the server tells it: names and values in turn."""
    if not pairs:
        return None
    told: Mapping[str, bytes] = dict(
        zip((name.decode() for name in pairs[::2]), pairs[1::2], strict=True)
    )
    return Session(
        **{field.name: _value(field.name, told[field.name]) for field in fields(Session)}
    )


def _value(name: str, value: bytes) -> Any:
    if name == "sealed":
        return value
    if name == "version":
        return int(value)
    return float(value) if name in _FLOATS else value.decode("utf-8", "surrogatepass")


def _sorted(found: Sequence[Sequence[bytes]]) -> list[Session]:
    sessions = [one for pairs in found if (one := _session(pairs)) is not None]
    return sorted(sessions, key=lambda one: (-one.last_used, one.id_hash))
