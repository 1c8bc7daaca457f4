"""A sign-in begun, its answer, and its end: (Flow, answer) -> a new session, or SignInRefused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from gateway.model import Clock, Identity
from gateway.sign_in.contents import Contents, identity_of, join_claims, seal_contents
from gateway.sign_in.flow import FLOW_SECONDS, Flow, new_flow
from gateway.sign_in.guard import DenyList, Lifetimes
from gateway.sign_in.id_token import Expected, verify_id_token
from gateway.sign_in.provider import Provider, ProviderRefused, Tokens
from gateway.sign_in.sealing import Sealer
from gateway.sign_in.session import (
    Room,
    Session,
    SessionsExceeded,
    SessionStore,
    hash_of,
)
from gateway.sign_in.session_id import SessionIds
from gateway.sign_in.signed import ClientRules, VerificationKeys
from gateway.token.claims import read_text
from gateway.token.refused import NotAdmitted, TokenRefused

_MAXIMUM_AGENT = 200


class SignInRefused(Exception):
    """`advice` is for the person, one of our own sentences; the text is for the audit."""

    def __init__(self, note: str, advice: str) -> None:
        super().__init__(note)
        self.advice = advice


AGAIN = (
    "Begin again; an answer can be used once, within ten minutes, and in the browser that asked."
)
_TOO_MANY = "Too many people are signed in. Try again later, or tell the administrators."
_DENIED = "This account is not admitted here. The administrators can say why."
_MISFIT = (
    "The identity provider's answer was not what was asked for."
    " Begin again; if it stays so, tell the administrators."
)


@dataclass(frozen=True, slots=True)
class Client:
    """One issuer to sign in at."""

    name: str
    title: str
    rules: ClientRules
    keys: VerificationKeys
    provider: Provider


class Answered(NamedTuple):
    """The query of an authorization response (RFC 6749 section 4.1.2, RFC 9207), as it came."""

    state: str
    code: str
    error: str
    issuer: str


class Visitor(NamedTuple):
    """What is shown of a session in lists: where from, with which browser."""

    address: str
    agent: str


class SignedIn(NamedTuple):
    """`session_id` is for the cookie; `ended` are sessions that had to go."""

    session_id: str
    session: Session
    identity: Identity
    ended: Sequence[str]


class Desk:
    """Signs people in. Everything that it keeps, it keeps in the store."""

    def __init__(
        self,
        clients: Mapping[str, Client],
        store: SessionStore,
        sealer: Sealer,
        ids: SessionIds,
        *,
        lifetimes: Lifetimes,
        room: Room,
        deny_list: DenyList,
        now: Clock,
    ) -> None:
        self.clients = clients
        self._store = store
        self._sealer = sealer
        self._ids = ids
        self._lifetimes = lifetimes
        self._room = room
        self._deny_list = deny_list
        self.now = now

    async def begin(self, client: Client, target: str, **wanted: Any) -> tuple[Flow, str]:
        """A flow, and where to send the browser. Raises ProviderDoubt."""
        flow = new_flow(client.name, target, self.now(), **wanted)
        return flow, await client.provider.authorization_url(flow)

    async def finish(self, flow: Flow, answered: Answered, visitor: Visitor) -> SignedIn:
        """Raises SignInRefused, ProviderDoubt, SessionDoubt, or Denied where there are no keys."""
        client = self.clients[flow.client]
        await self._check(client, flow, answered)
        try:
            tokens = await client.provider.redeem(answered.code, flow.verifier)
            claims = await self._read(client, flow, tokens)
            return await self._open(client, claims, tokens, visitor)
        except ProviderRefused as refused:
            raise SignInRefused(f"the token endpoint says {refused.code}", AGAIN) from None
        except NotAdmitted as refused:
            raise SignInRefused(refused.cause, _DENIED) from None
        except TokenRefused as refused:
            raise SignInRefused(f"ID token: {refused.cause}", _MISFIT) from None

    async def _check(self, client: Client, flow: Flow, answered: Answered) -> None:
        """The state first: whatever else the answer says, it is used up."""
        if not await self._store.use_once(
            f"state {hash_of(flow.state)}", self.now() + FLOW_SECONDS
        ):
            raise SignInRefused("the state was used before", AGAIN)
        if answered.issuer:
            if answered.issuer != client.rules.issuer:
                raise SignInRefused("iss is another issuer", _MISFIT)
        elif await client.provider.names_itself():
            raise SignInRefused("iss is missing", _MISFIT)
        if answered.error:
            raise SignInRefused(f"the provider says {answered.error}", _advice(answered.error))
        if not answered.code:
            raise SignInRefused("neither code nor error", _MISFIT)

    async def _read(self, client: Client, flow: Flow, tokens: Tokens) -> dict[str, Any]:
        expected = Expected(
            flow.nonce, tokens.access_token, flow.maximum_age_seconds, flow.acr_values
        )
        claims = await verify_id_token(
            tokens.id_token, client.rules, client.keys, expected, self.now()
        )
        return join_claims(claims, await client.provider.userinfo(tokens.access_token))

    async def _open(
        self, client: Client, claims: dict[str, Any], tokens: Tokens, visitor: Visitor
    ) -> SignedIn:
        session_id, now = self._ids.new(), self.now()
        contents = Contents(claims, tokens.id_token, tokens.refresh_token)
        session = Session(
            id_hash=hash_of(session_id),
            client=client.name,
            issuer=client.rules.issuer,
            subject=claims["sub"],
            sid=read_text(claims, "sid") or "",
            created=now,
            last_used=now,
            ends=now + self._lifetimes.absolute,
            checked=now,
            address=visitor.address,
            agent=_shown(visitor.agent),
            sealed=b"",
        )
        session = seal_contents(contents, session, self._sealer)
        identity = identity_of(session, claims, client.rules)
        if self._deny_list.find(identity) is not None:
            raise SignInRefused("on the deny list", _DENIED)
        try:
            ended = await self._store.create(session, self._room)
        except SessionsExceeded as exceeded:
            raise SignInRefused(str(exceeded), _TOO_MANY) from None
        return SignedIn(session_id, session, identity, ended)


def _advice(error: str) -> str:
    """RFC 6749 section 4.1.2.1 and OpenID Connect Core section 3.1.2.6, for a person."""
    match error:
        case "access_denied":
            return "The identity provider did not let you in, or you cancelled there."
        case "temporarily_unavailable" | "server_error":
            return "The identity provider has a problem at the moment. Try again later."
        case "unmet_authentication_requirements":
            return (
                "The identity provider cannot sign you in as strongly as this operation asks for."
            )
        case _:
            return "The identity provider refused. If it stays so, tell the administrators."


def _shown(agent: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in agent[:_MAXIMUM_AGENT])
