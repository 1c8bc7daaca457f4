"""(Session, its tokens) -> the session as its provider sees it now, asked once however many requests wait.

A refresh token is used once (RFC 9700 section 4.14): the new one is kept under the version that the old one
had, so that of two processes one writes and the other reads what was written. Where the provider refuses a
token that nobody has replaced meanwhile, it was revoked, or used by somebody else: the session ends.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from gateway.denial import Denied, Reason
from gateway.model import Clock
from gateway.sign_in.contents import Contents, join_claims, seal_contents
from gateway.sign_in.desk import Client
from gateway.sign_in.id_token import Expected, verify_id_token
from gateway.sign_in.provider import ProviderDoubt, ProviderRefused
from gateway.sign_in.sealing import Sealer
from gateway.sign_in.session import Session, SessionStore
from gateway.sign_in.signed import MAXIMUM_TOKEN_BYTES
from gateway.token.claims import read_text
from gateway.token.form import read_token
from gateway.token.refused import TokenRefused

_RETRY = (("Retry-After", "5"),)
_FINAL = frozenset({"invalid_grant"})
"""What says that the token is of no use any more; any other refusal is about the gateway as a client."""
_PAUSE_SECONDS = 10.0
"""After a provider gave no answer, until it is asked about the same session again."""


class _OvertakenError(Exception):
    """The session was changed or ended meanwhile: what is in the store is right."""


class Refreshing:
    """`check_seconds`: how often; `grace_seconds`: how long a session goes on while the provider is down."""

    def __init__(
        self,
        clients: Mapping[str, Client],
        store: SessionStore,
        sealer: Sealer,
        *,
        check_seconds: float,
        grace_seconds: float,
        now: Clock,
    ) -> None:
        self._clients = clients
        self._store = store
        self._sealer = sealer
        self._check_seconds = check_seconds
        self._grace_seconds = grace_seconds
        self._now = now
        self._flights: dict[str, asyncio.Task[Session | None]] = {}
        self._pauses: dict[str, float] = {}

    def is_due(self, session: Session) -> bool:
        """See Refresh."""
        return self._now() >= session.checked + self._check_seconds

    async def __call__(self, session: Session, contents: Contents) -> Session | None:
        """See Refresh. A flight goes on when its callers are cancelled: the token is used by then."""
        if not contents.refresh_token:
            return session
        if self._now() < self._pauses.get(session.id_hash, 0.0):
            return self._unasked(session, "the provider gave no answer a moment ago")
        flight = self._flights.get(session.id_hash)
        if flight is None:
            flight = asyncio.get_running_loop().create_task(self._ask(session, contents))
            self._flights[session.id_hash] = flight
            flight.add_done_callback(lambda _: self._flights.pop(session.id_hash))
        return await asyncio.shield(flight)

    async def _ask(self, session: Session, contents: Contents) -> Session | None:
        try:
            return await self._renew(session, contents)
        except ProviderRefused as refused:
            if refused.code in _FINAL:
                return await self._lost(session)
            return self._pause(session, f"the token endpoint says {refused.code}")
        except _OvertakenError:
            return await self._store.find(session.id_hash)
        except TokenRefused:
            await self._store.end(session.id_hash)
            return None
        except (ProviderDoubt, Denied) as doubt:  # Denied: there are no keys
            return self._pause(session, str(doubt))

    def _pause(self, session: Session, note: str) -> Session:
        now = self._now()
        self._pauses = {one: until for one, until in self._pauses.items() if until > now}
        self._pauses[session.id_hash] = now + _PAUSE_SECONDS
        return self._unasked(session, note)

    def _unasked(self, session: Session, note: str) -> Session:
        """Good for the grace time, and then not without the provider."""
        if self._now() < session.checked + self._check_seconds + self._grace_seconds:
            return session
        raise Denied(Reason.PROVIDER_UNAVAILABLE, note, headers=_RETRY)

    async def _lost(self, session: Session) -> Session | None:
        """Another process may have been quicker with this token."""
        current = await self._store.find(session.id_hash)
        if current is not None and current.version != session.version:
            return current
        await self._store.end(session.id_hash)
        return None

    async def _renew(self, session: Session, contents: Contents) -> Session | None:
        client = self._clients[session.client]
        tokens = await client.provider.refresh(contents.refresh_token)
        # kept before anything else can fail: the old token is worth nothing from here on
        held = Contents(contents.claims, contents.id_token, tokens.refresh_token)
        session = await self._keep(session, held, session.checked)
        if tokens.id_token:
            expected = Expected(None, tokens.access_token, subject=session.subject)
            fresh = await verify_id_token(
                tokens.id_token, client.rules, client.keys, expected, self._now()
            )
        else:  # what userinfo said before is not said again, so that what it leaves out is gone
            fresh = read_token(contents.id_token, MAXIMUM_TOKEN_BYTES).unverified_claims
        claims = join_claims(fresh, await client.provider.userinfo(tokens.access_token))
        # how strongly and when somebody signed in, no refresh can change (RFC 9470 section 6.2)
        kept = {name: contents.claims[name] for name in _STRENGTH if name in contents.claims}
        claims = {name: one for name, one in claims.items() if name not in _STRENGTH} | kept
        id_token = tokens.id_token or contents.id_token
        renewed = Contents(claims, id_token, tokens.refresh_token)
        return await self._keep(session, renewed, self._now())

    async def _keep(self, session: Session, contents: Contents, checked: float) -> Session:
        fresh = replace(
            session,
            sid=read_text(contents.claims, "sid") or session.sid,
            checked=checked,
            version=session.version + 1,
        )
        fresh = seal_contents(contents, fresh, self._sealer)
        if await self._store.replace(fresh):
            return fresh
        raise _OvertakenError


_STRENGTH = ("acr", "amr", "auth_time")
