"""A browser with a session -> Identity, or Denied: the session's place among the ways to authenticate.

What was found is used for a second before the store is asked again, so that an ended session is refused
a second later at most, whoever ended it, and a page of many requests asks once. The Identity of a session
is one object for as long as its claims are the same: what other stages remember, they remember by it.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Protocol

from gateway.denial import Denied, Reason
from gateway.model import Browser, Clock, Identity, Secret
from gateway.request.browser import check_origin
from gateway.sign_in.contents import Contents, identity_of, open_contents
from gateway.sign_in.sealing import Sealer, Unsealable
from gateway.sign_in.session import Session, SessionDoubt, SessionStore, hash_of, is_over
from gateway.sign_in.session_id import SessionIds
from gateway.sign_in.signed import ClientRules
from gateway.token.refused import TokenRefused

FRESH_SECONDS = 1.0
_TOUCH_SHARE = 0.05
"""Of the idle time: so much of it may be lost to a session, so that not every request writes."""
_REMEMBERED = 10_000
_RETRY = (("Retry-After", "5"),)


class DenyList(Protocol):
    """Identities that are refused although their sessions are good."""

    def find(self, identity: Identity) -> str | None:
        """The kind of the entry that names this identity."""
        ...


class Refresh(Protocol):
    """Asks the provider whether a session still stands."""

    def is_due(self, session: Session) -> bool: ...

    async def __call__(self, session: Session, contents: Contents) -> Session | None:
        """The session as it is now; None where it is over. Raises Denied or SessionDoubt."""
        ...


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """In seconds."""

    idle: float
    absolute: float


class Known(NamedTuple):
    """A session that was found, and whose it is."""

    session: Session
    identity: Identity
    fresh_until: float


class SessionGuard:
    """`clients` are the rules by the sign-in client's name. `monotonic` is the clock of what is remembered."""

    def __init__(
        self,
        store: SessionStore,
        sealer: Sealer,
        ids: SessionIds,
        clients: Mapping[str, ClientRules],
        *,
        lifetimes: Lifetimes,
        deny_list: DenyList,
        refresh: Refresh,
        public_origin: str,
        now: Clock,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._sealer = sealer
        self._ids = ids
        self._clients = clients
        self._idle = lifetimes.idle
        self._absolute = lifetimes.absolute
        self._deny_list = deny_list
        self._refresh = refresh
        self._public_origin = public_origin
        self._now = now
        self._monotonic = monotonic
        self._known: OrderedDict[str, Known] = OrderedDict()

    async def identify(self, browser: Browser, method: str) -> Identity:
        """See Sessions. Raises Denied: cross-site-request, session-ended, sessions-unavailable."""
        return (await self.find(browser, method)).identity

    async def find(self, browser: Browser, method: str, *, is_page: bool = False) -> Known:
        """The session as well, for pages that are about it."""
        if browser.session is None:
            raise Denied(Reason.SESSION_ENDED, "no session")
        check_origin(browser, method, self._public_origin, is_page=is_page)
        id_hash = hash_of(browser.session.reveal)
        known = self._known.get(id_hash)
        if known is None and self.is_forged(browser.session):
            raise Denied(Reason.SESSION_ENDED, "its id was not made here")
        if known is None or self._monotonic() >= known.fresh_until:
            known = await self._look(id_hash, known)
        now = self._now()
        if is_over(known.session, now, self._idle) or now >= known.identity.expires:
            await self._end(id_hash, "its time is over")
        entry = self._deny_list.find(known.identity)
        if entry is not None:
            await self._end(id_hash, f"on the deny list by {entry}")
        return known

    def is_forged(self, session: Secret) -> bool:
        """See Sessions."""
        return not self._ids.are_ours(session.reveal)

    def forget(self, id_hashes: Iterable[str]) -> None:
        """These have been ended or changed: ask for them anew."""
        for id_hash in id_hashes:
            self._known.pop(id_hash, None)

    async def _look(self, id_hash: str, known: Known | None) -> Known:
        try:
            session = await self._store.find(id_hash)
            if session is None or is_over(session, self._now(), self._idle):
                self._refuse(id_hash, "unknown or over")
            session = await self._touched(session)
            contents = open_contents(session, self._sealer)
            if self._refresh.is_due(session):
                session = await self._refreshed(session, contents)
                contents = open_contents(session, self._sealer)
            identity = self._identity(session, contents, known)
        except SessionDoubt as doubt:
            raise Denied(Reason.SESSIONS_UNAVAILABLE, str(doubt), headers=_RETRY) from doubt
        except (Unsealable, TokenRefused, KeyError) as error:
            self._refuse(id_hash, f"cannot be used any more: {error}")
        return self._remember(id_hash, Known(session, identity, self._monotonic() + FRESH_SECONDS))

    def _remember(self, id_hash: str, known: Known) -> Known:
        self._known[id_hash] = known
        self._known.move_to_end(id_hash)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return known

    async def _touched(self, session: Session) -> Session:
        now = self._now()
        if now - session.last_used < self._idle * _TOUCH_SHARE:
            return session
        await self._store.touch(session.id_hash, now)
        return await self._store.find(session.id_hash) or session

    async def _refreshed(self, session: Session, contents: Contents) -> Session:
        fresh = await self._refresh(session, contents)
        if fresh is None:
            self._refuse(session.id_hash, "the provider has ended it")
        return fresh

    def _identity(self, session: Session, contents: Contents, known: Known | None) -> Identity:
        """The same object as before, unless the session changed."""
        if known is not None and known.session.version == session.version:
            return known.identity
        # a reload may have made the limit shorter than it was at the sign-in
        expires = min(session.ends, session.created + self._absolute)
        return identity_of(session, contents.claims, self._clients[session.client], expires)

    async def _end(self, id_hash: str, note: str) -> NoReturn:
        try:
            await self._store.end(id_hash)
        except SessionDoubt as doubt:
            note = f"{note}; {doubt}"
        self._refuse(id_hash, note)

    def _refuse(self, id_hash: str, note: str) -> NoReturn:
        self._known.pop(id_hash, None)
        raise Denied(Reason.SESSION_ENDED, note)
