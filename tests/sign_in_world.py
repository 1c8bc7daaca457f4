"""A scripted provider and browser around the real desk, guard and pages."""

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from gateway.denial import Denied
from gateway.model import AuditRecord, ClusterUser, Identity
from gateway.sign_in.desk import Client, Desk
from gateway.sign_in.flow import Flow
from gateway.sign_in.guard import Lifetimes, SessionGuard
from gateway.sign_in.provider import ProviderDoubt, ProviderRefused, Tokens
from gateway.sign_in.refreshing import Refreshing
from gateway.sign_in.sealing import Sealer
from gateway.sign_in.session import Room
from gateway.sign_in.session_id import SessionIds
from gateway.sign_in.signed import ClientRules
from gateway.web.audited import Audited
from gateway.web.portal import build_portal
from gateway.web.sign_in.asked import FormTokens
from gateway.web.sign_in.house import Access, AllowedClass, House, Leave
from gateway.web.sign_in.pages import DOCS_PATH, Pages
from tests.fake_sessions import FakeSessionStore
from tests.fakes import FakeClock
from tests.tokens import (
    FakeAnonymous,
    FakeDenyList,
    FakeFailures,
    FakeKeys,
    make_token,
    public_jwk,
)

ORIGIN = "https://slurm.example.org"
KEYS = (b"k" * 32,)
IDLE, ABSOLUTE, CHECK, GRACE = 1000.0, 5000.0, 300.0, 600.0
SESSION = "__Host-slurm-gateway-session"
NAVIGATION = {
    "Accept": "text/html,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Site": "same-origin",
}


class ScriptedProvider:
    """Signs `claims` in with a code; what a test changes, it does wrong."""

    def __init__(self, name: str, issuer: str, clock: FakeClock) -> None:
        self.name = name
        self.issuer = issuer
        self.clock = clock
        self.key = "oidc"
        self.header: dict[str, Any] = {"alg": "RS256", "kid": "k1"}
        self.claims: dict[str, Any] = {}
        self.info: dict[str, Any] = {"sub": "alice-sub", "preferred_username": "alice"}
        self.iss_supported = False
        self.error: Exception | None = None
        self.tokens: dict[str, Any] = {}
        self.flows: dict[str, Flow] = {}
        self.redeemed: list[tuple[str, str]] = []
        self.refreshed: list[str] = []
        self.gate: Any = None
        self.is_userinfo_down = False

    async def authorization_url(self, flow: Flow) -> str:
        if self.error is not None:
            raise self.error
        self.flows[flow.state] = flow
        return f"{self.issuer}/auth?state={flow.state}"

    async def names_itself(self) -> bool:
        return self.iss_supported

    def id_token(self, nonce: str | None, **changes: Any) -> str:
        now = int(self.clock())
        claims = {
            "iss": self.issuer,
            "sub": "alice-sub",
            "aud": f"client-{self.name}",
            "iat": now,
            "exp": now + 300,
            "auth_time": now,
            "sid": "provider-session",
            **({"nonce": nonce} if nonce else {}),
            **self.claims,
            **changes,
        }
        present = {name: value for name, value in claims.items() if value is not None}
        return make_token(self.header, present, self.key)

    async def redeem(self, code: str, verifier: str) -> Tokens:
        if self.error is not None:
            raise self.error
        flow = next((one for one in self.flows.values() if one.verifier == verifier), None)
        if flow is None or code != "good" or (code, verifier) in self.redeemed:
            raise ProviderRefused("invalid_grant")
        self.redeemed.append((code, verifier))
        made = {
            "access_token": "at",
            "id_token": self.id_token(flow.nonce),
            "refresh_token": "rt-0",
        }
        return Tokens(**{**made, **self.tokens})

    async def refresh(self, refresh_token: str) -> Tokens:
        self.refreshed.append(refresh_token)
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        fresh = f"rt-{len(self.refreshed)}"
        made = {"access_token": "at", "id_token": self.id_token(None), "refresh_token": fresh}
        return Tokens(**{**made, **self.tokens})

    async def userinfo(self, access_token: str) -> Mapping[str, Any]:
        if self.is_userinfo_down:
            raise ProviderDoubt("userinfo is down")
        return self.info


class FakeTrail:
    """What the pages wrote into the audit."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []

    async def close(self, record: AuditRecord) -> None:
        self.records.append(record)


@dataclass
class World:
    """Two issuers, `campus` and `partner`, unless a test wants one."""

    names: tuple[str, ...] = ("campus", "partner")
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.store = FakeSessionStore()
        self.deny_list = FakeDenyList()
        self.failures = FakeFailures()
        self.trail = FakeTrail()
        self.keys = FakeKeys(public_jwk("oidc"))
        self.ids = SessionIds(KEYS)
        self.sealer, self.flows = Sealer(KEYS, "sessions"), Sealer(KEYS, "flows")
        self.providers = {
            name: ScriptedProvider(name, f"https://{name}.example.org", self.clock)
            for name in self.names
        }
        self.clients = {name: self._client(name) for name in self.names}
        self.refresh = Refreshing(
            self.clients,
            self.store,
            self.sealer,
            check_seconds=CHECK,
            grace_seconds=GRACE,
            now=self.clock,
        )
        self.guard = self.guard_with(Lifetimes(IDLE, ABSOLUTE))
        self.desk = Desk(
            self.clients,
            self.store,
            self.sealer,
            self.ids,
            lifetimes=Lifetimes(IDLE, ABSOLUTE),
            room=Room(3, 10),
            deny_list=self.deny_list,
            now=self.clock,
        )
        self.unmapped: Denied | None = None
        self.leave: Leave | None = None
        portal = build_portal(ORIGIN, "lab", [], self.house(), has_docs=True)
        self.application = Audited(
            portal, self.trail, lambda _headers, peer: (peer or "", ""), FakeAnonymous()
        )

    def guard_with(self, lifetimes: Lifetimes) -> SessionGuard:
        """A guard as a reload makes it."""
        return SessionGuard(
            self.store,
            self.sealer,
            self.ids,
            {name: client.rules for name, client in self.clients.items()},
            lifetimes=lifetimes,
            deny_list=self.deny_list,
            refresh=self.refresh,
            public_origin=ORIGIN,
            now=self.clock,
            monotonic=self.clock,
        )

    def _client(self, name: str) -> Client:
        provider = self.providers[name]
        algorithms = frozenset({"RS256"})
        rules = ClientRules(provider.issuer, f"client-{name}", algorithms, 30.0, "groups")
        return Client(name, f"{name} <University>", rules, self.keys, provider)

    def house(self) -> House:
        async def map_user(identity: Identity) -> ClusterUser:
            if self.unmapped is not None:
                raise self.unmapped
            return ClusterUser(str(identity.claims["preferred_username"]), ("user",))

        async def leave(_name: str, _id_token: str) -> Leave | None:
            return self.leave

        access = Access([AllowedClass("READ", "600/minute", ("GET /slurm/*/jobs",))], 16)
        return House(
            desk=self.desk,
            failures=self.failures,
            guard=self.guard,
            store=self.store,
            contents=self.sealer,
            flows=self.flows,
            forms=FormTokens(b"f" * 32),
            pages=Pages("lab", DOCS_PATH),
            map_user=map_user,
            access=lambda _user: access,
            leave=leave,
        )

    def browser(self) -> httpx2.AsyncClient:
        """A browser with cookies of its own; redirects are for the test to follow."""
        transport = httpx2.ASGITransport(app=self.application, client=("192.0.2.7", 40000))
        return httpx2.AsyncClient(transport=transport, base_url=ORIGIN, headers=NAVIGATION)

    async def begin(
        self, browser: httpx2.AsyncClient, name: str = "campus", to: str = "/me"
    ) -> str:
        """Off to the provider; the state."""
        answer = await browser.get("/login", params={"at": name, "to": to})
        assert answer.status_code == 303, answer.text
        query = urllib.parse.urlsplit(answer.headers["location"]).query
        return urllib.parse.parse_qs(query)["state"][0]

    async def answer(
        self, browser: httpx2.AsyncClient, state: str, name: str = "campus", **query: str
    ) -> httpx2.Response:
        """Back from it."""
        headers = {"Sec-Fetch-Site": "cross-site"}
        params = {"state": state, "code": "good", **query}
        given = {name: value for name, value in params.items() if value}
        return await browser.get(f"/login/callback/{name}", params=given, headers=headers)

    async def sign_in(self, browser: httpx2.AsyncClient, name: str = "campus") -> httpx2.Response:
        """All of it."""
        return await self.answer(browser, await self.begin(browser, name), name)

    @property
    def last(self) -> AuditRecord:
        """The record of the last request."""
        return self.trail.records[-1]
