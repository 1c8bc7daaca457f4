"""Any heads from any addresses on any connections, with reloads in between -> each is decided as it would be alone.

Decisions are shared by all connections (gateway/web/known_heads.py), so whatever they go by is varied here: a byte
of the token, of the target, of a field; the address; the configuration. slurmrestd says for whom it was asked what.
"""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.app_running import Application
from gateway.model import Identity
from gateway.web.express import LOOK_SECONDS
from lab.toml_text import Settings
from tests.configurations import ISSUER, lines_in, token_for
from tests.examples import ALL_EXAMPLES
from tests.running import gateway_of, running
from tests.scripted_upstream import ScriptedUpstream, Seen, answer, answering
from tests.unit.web.test_http_protocol import MemoryTransport

NEVER = "1000000/second"
PROXY, NEIGHBOUR, STRANGER = "10.0.0.1", "10.0.0.2", "192.0.2.9"
PEERS = (PROXY, NEIGHBOUR, STRANGER)
TARGETS = ("/slurm/v0.0.38/job/1", "/slurm/v0.0.38/job/2", "/slurm/v0.0.38/ping")


class Policy(NamedTuple):
    """A configuration, as far as verdicts go by it."""

    allow: tuple[str, ...]
    trusted_proxies: tuple[str, ...] = ()
    audience: str = "https://slurm.example.org"

    def settings(self, folder: Path, port: int) -> Settings:
        rates = {"read": NEVER, "read-heavy": NEVER}
        keys = str(folder / "keys.json")
        issuer = {"issuer": ISSUER, "audiences": [self.audience], "jwks_file": keys}
        return {
            # nobody is sent away for being slow: turns leave connections out, on a busy machine for long
            "server": {"trusted_proxies": list(self.trusted_proxies), "header_seconds": 600},
            "authenticate": {"issuers": [issuer]},
            "authorize": {"roles": {"user": {"allow": list(self.allow)}}},
            "limit": {
                "rates": rates,
                "failed_authentications": NEVER,
                "failed_authentications_per_subject": NEVER,
                "concurrent_per_identity": 1000,
            },
            "forward": {"upstream": f"http://127.0.0.1:{port}"},
        }


POLICIES = (
    Policy(("READ",), (PROXY,)),
    Policy(("READ",), (NEIGHBOUR,)),
    Policy(("GET /slurm/*/ping",)),
    Policy(("READ",), audience="https://slurm.example.net"),
)


class Asked(NamedTuple):
    """One head, by what it says."""

    user: str
    token: str
    is_genuine: bool
    target: str
    forwarded_for: str

    @property
    def data(self) -> bytes:
        fields = f"Host: h\r\nAuthorization: Bearer {self.token}\r\n"
        if self.forwarded_for:
            fields += f"X-Forwarded-For: {self.forwarded_for}\r\n"
        return f"GET {self.target} HTTP/1.1\r\n{fields}\r\n".encode()


def forged(token: str) -> str:
    """Another byte of the signature."""
    middle = len(token) - 40
    return token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]


TOKENS = {user: token_for(user) for user in ("alice", "alicf", "bob")}
CALLERS = [(user, token, True) for user, token in TOKENS.items()]
CALLERS.append(("alice", forged(TOKENS["alice"]), False))
HEADS = [
    Asked(*caller, target, forwarded_for)
    for caller, target, forwarded_for in product(CALLERS, TARGETS, ("", "192.0.2.1", "192.0.2.2"))
]


class Verdict(NamedTuple):
    """What becomes of a request that is alone."""

    status: int
    body: bytes
    client_address: str
    user: str

    @classmethod
    def of(cls, asked: Asked, peer: str, policy: Policy) -> "Verdict":
        is_forwarded = peer in policy.trusted_proxies and asked.forwarded_for
        address = asked.forwarded_for if is_forwarded else peer
        if not asked.is_genuine or policy.audience != POLICIES[0].audience:
            return cls(401, b"", address, "")
        if policy.allow != ("READ",) and not asked.target.endswith("/ping"):
            return cls(403, b"", address, asked.user)
        return cls(200, f"{asked.user} {asked.target}".encode(), address, asked.user)


class Transport(MemoryTransport):
    """From an address."""

    def __init__(self, peer: str) -> None:
        super().__init__()
        self.peer = peer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.peer, 4711) if name == "peername" else default


class Client:
    """One connection, and one request at a time on it."""

    def __init__(self, application: Application, protocol_class: Any, peer: str) -> None:
        config = Config(
            application,
            interface="asgi3",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            timeout_keep_alive=3600,
        )
        config.load()
        self.peer, self.transport = peer, Transport(peer)
        loop = asyncio.get_running_loop()
        protocol = protocol_class(config, ServerState(), {}, loop)
        self.protocol = self.transport.protocol = protocol
        protocol.connection_made(self.transport)

    def ask(self, data: bytes) -> None:
        self.transport.written = b""
        self.protocol.data_received(data)

    async def answer(self) -> tuple[int, str, bytes]:
        """(status, request id, body)"""
        async with asyncio.timeout(60):
            while True:
                head, end, body = self.transport.written.partition(b"\r\n\r\n")
                lines = head.decode().lower().split("\r\n")
                fields = dict(line.split(": ", 1) for line in lines[1:])
                if end and len(body) >= int(fields["content-length"]):
                    return int(lines[0].split(" ")[1]), fields["x-request-id"], body
                assert not self.transport.is_closing(), "the gateway has closed it"
                await asyncio.sleep(0)


def for_whom(seen: Seen) -> bytes:
    return answer(f"{seen.user} {seen.path}".encode())


def count_rides(application: Application, counted: Counter[str]) -> None:
    generation = application.current
    express = generation.serving.express
    assert express is not None

    def enter() -> bool:
        is_current = express.enter()
        counted["rides"] += is_current
        return is_current

    generation.serving = replace(generation.serving, express=express._replace(enter=enter))


class Course:
    """What happened, and what had to."""

    def __init__(self, folder: Path, counted: Counter[str]) -> None:
        self.folder, self.counted = folder, counted
        self.expected: dict[str, tuple[Verdict, Asked]] = {}

    async def run(self, peers: list[str], turns: list[tuple[int | None, list[Asked]]]) -> None:
        """In a turn, a reload perhaps; then each of the heads on a connection of its own, at once."""
        policy = POLICIES[0]
        upstream = ScriptedUpstream(answering(for_whom))
        await upstream.start()
        try:
            first = gateway_of(self.folder, policy.settings(self.folder, upstream.port))
            async with running(first) as application:
                count_rides(application, self.counted)
                protocol = application.protocol()
                clients = [Client(application, protocol, peer) for peer in peers]
                for reload, heads in turns:
                    if reload is not None:
                        policy = POLICIES[reload]
                        config = gateway_of(
                            self.folder, policy.settings(self.folder, upstream.port)
                        )
                        application.adopt(await application.prepare(config))
                        count_rides(application, self.counted)
                        clients[0] = Client(application, application.protocol(), peers[0])
                    await self._ask(clients, heads, policy)
                for client in clients:
                    client.protocol.connection_lost(None)
        finally:
            await upstream.stop()

    async def _ask(self, clients: list[Client], heads: list[Asked], policy: Policy) -> None:
        pairs = list(zip(clients, heads, strict=False))
        for client, asked in pairs:
            client.ask(asked.data)
        for client, asked in pairs:
            status, request_id, body = await client.answer()
            verdict = Verdict.of(asked, client.peer, policy)
            assert status == verdict.status, (asked, client.peer, body)
            assert status != 200 or body == verdict.body
            self.expected[request_id] = verdict, asked

    def check_audit(self) -> None:
        """Each request has lines of its own, and they name who asked, whence, and for what."""
        lines = [line for line in lines_in(self.folder / "audit.jsonl") if "request_id" in line]
        assert {line["request_id"] for line in lines} == self.expected.keys()
        events: dict[str, list[str]] = {request_id: [] for request_id in self.expected}
        for line in lines:
            verdict, asked = self.expected[line["request_id"]]
            events[line["request_id"]].append(line["event"])
            assert line["client_address"] == verdict.client_address
            assert line["target"] == asked.target
            assert line["user"] == verdict.user, json.dumps(line)
            assert line["forwarded_for"] == asked.forwarded_for
        for request_id, (verdict, _) in self.expected.items():
            granted = ["begin", "end"] if verdict.status == 200 else ["denied"]
            assert events[request_id] == granted


TURN = st.tuples(
    st.one_of(*[st.none()] * 19, st.integers(0, len(POLICIES) - 1)),
    st.lists(st.integers(0, 2), min_size=3, max_size=6),
)


def test_each_request_is_decided_as_it_would_be_alone() -> None:
    counted: Counter[str] = Counter()

    @settings(max_examples=100 if ALL_EXAMPLES else 12, deadline=None)
    @given(
        st.lists(st.sampled_from(HEADS), min_size=3, max_size=3),
        st.lists(st.sampled_from(PEERS), min_size=6, max_size=6),
        st.lists(TURN, min_size=15, max_size=25),
    )
    def holds(heads: list[Asked], peers: list[str], turns: list[Any]) -> None:
        with TemporaryDirectory() as folder:
            course = Course(Path(folder), counted)
            chosen = [(reload, [heads[number] for number in numbers]) for reload, numbers in turns]
            asyncio.run(course.run(peers, chosen))
            course.check_audit()

    holds()
    assert counted["rides"] > 50


def test_one_decision_serves_all_connections_from_its_address_and_no_other(tmp_path: Path) -> None:
    counted: Counter[str] = Counter()
    head = HEADS[0]
    course = Course(tmp_path, counted)
    peers = [PROXY] * 5 + [STRANGER]
    asyncio.run(course.run(peers, [(None, [head]), (None, [head]), (None, [head] * 6)]))
    course.check_audit()
    assert counted["rides"] == 5


class Denying:
    """A deny list that names everybody."""

    def find(self, identity: Identity) -> str:
        return f"subject {identity.subject}"


def test_a_deny_list_ends_a_decision_that_stands(tmp_path: Path) -> None:
    """As soon as the decision is looked at again, long before it would have ended by itself."""

    async def poll() -> list[int]:
        upstream = ScriptedUpstream(answering(for_whom))
        await upstream.start()
        config = gateway_of(tmp_path, POLICIES[0].settings(tmp_path, upstream.port))
        async with running(config) as application:
            client = Client(application, application.protocol(), PROXY)
            statuses = []
            for turn in range(4):
                if turn == 3:
                    application.current.identification.authenticate._deny_list = Denying()
                    await asyncio.sleep(LOOK_SECONDS * 1.5)
                client.ask(HEADS[0].data)
                statuses.append((await client.answer())[0])
            client.protocol.connection_lost(None)
        await upstream.stop()
        return statuses

    assert asyncio.run(poll()) == [200, 200, 200, 401]


def test_a_reload_ends_all_decisions_at_once(tmp_path: Path) -> None:
    counted: Counter[str] = Counter()
    head = HEADS[0]
    course = Course(tmp_path, counted)
    turns = [(None, [head]), (None, [head]), (None, [head] * 3), (2, [head] * 3), (0, [head] * 3)]
    asyncio.run(course.run([PROXY] * 3, turns))
    course.check_audit()
    assert counted["rides"] == 3
    statuses = Counter(verdict.status for verdict, _ in course.expected.values())
    assert statuses == {200: 8, 403: 3}
