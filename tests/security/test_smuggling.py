"""Raw requests through a whole running gateway -> exactly those that were admitted reach slurmrestd, or nothing.

tests/security/corpus/smuggling.toml says in full what arrives. raw_requests.toml is sent as well, its
paths replaced by operations that exist: what it says to reach the application reaches slurmrestd.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.model import AuthorizedCall, Secret, Target, UpstreamCredential
from gateway.slurm_api import read_catalogue
from gateway.slurm_api.policy import parse_policy
from gateway.stages.authorize import Authorize
from gateway.stages.forward import RequestHead
from lab.toml_text import Settings
from tests.configurations import token_for
from tests.measured import note
from tests.roles import Rules
from tests.security.raw_server import RawClient
from tests.security.recording_upstream import RecordingUpstream, recording_upstream
from tests.security.test_raw_requests import filled, in_one_go, in_small_pieces, why
from tests.serving import Served, served

FOLDER = Path(__file__).parent / "corpus"
OWN = tomllib.loads((FOLDER / "smuggling.toml").read_text("utf-8"))
OTHERS = tomllib.loads((FOLDER / "raw_requests.toml").read_text("utf-8"))["request"]
CLASSES = ("READ", "SUBMIT", "JOB-WRITE", "ADMIN")
SETTINGS: Settings = {
    "limit": {
        "rates": dict.fromkeys((name.lower() for name in CLASSES), "1000000/second"),
        "failed_authentications": "1000000/second",
    },
    "authorize": {"roles": {"user": {"allow": list(CLASSES)}}},
    "server": {"header_seconds": 1},
}
_TOKEN = re.compile(
    rb"\r\nX-SLURM-USER-TOKEN: (ey[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)\r\n"
)
_REPLACED = {
    "GET /a HTTP": "GET /slurm/v0.0.42/ping HTTP",
    "GET /b HTTP": "GET /slurm/v0.0.42/partitions HTTP",
    "GET /slow HTTP": "GET /slurm/v0.0.42/licenses HTTP",
    "POST /a HTTP": "POST /slurmdb/v0.0.42/tres HTTP",
    "POST /b HTTP": "POST /slurmdb/v0.0.42/clusters HTTP",
    "DELETE /a/1 HTTP": "DELETE /slurm/v0.0.42/job/1 HTTP",
    "DELETE /c HTTP": "DELETE /slurm/v0.0.42/job/3 HTTP",
}


@dataclass
class World:
    """The gateway, what it talks to, and what it must send for an admitted request."""

    gateway: Served
    upstream: RecordingUpstream
    token: str
    authorize: Authorize

    def decided(self, method: str, path: str) -> AuthorizedCall:
        return self.authorize.decide(method, Target(path), ("user",))

    def wanted(self, name: str, token: bytes) -> bytes:
        """ "GET /path" or "POST /path body" as it has to arrive, with the minted token, which is new each time."""
        method, path, *body = name.split(" ", 2)
        call = self.decided(method, path)
        content = body[0].encode("latin-1") if body else b""
        credential = UpstreamCredential("alice", Secret(token.decode()))
        media_type, length = ("application/json", len(content)) if content else ("", None)
        if call.operation.takes_body and not content:
            length = 0
        head = RequestHead(self.upstream.authority)(
            call, credential, media_type=media_type, length=length
        )
        return head + content


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    catalogue = read_catalogue()
    policy, problems = parse_policy({"user": Rules(allow=CLASSES)}, catalogue)
    assert problems == []
    with recording_upstream() as upstream:
        changes = {**SETTINGS, "forward": {"upstream": upstream.url}}
        with served(tmp_path_factory.mktemp("gateway"), changes) as gateway:
            token = token_for("alice", 3000)
            yield World(gateway, upstream, token, Authorize(catalogue, policy))
        assert upstream.strange == []


def asked(case: dict[str, Any], token: str) -> bytes:
    """A row of smuggling.toml with its words replaced."""
    words = {name: text.replace("{token}", token) for name, text in OWN["words"].items()}
    raw = str(case["raw"]).replace("{token}", token)
    for name in ("evil_length", "evil_hex"):
        size = len(words["evil"])
        raw = raw.replace(f"{{{name}}}", str(size) if name == "evil_length" else f"{size:x}")
    for name, text in words.items():
        raw = raw.replace(f"{{{name}}}", text)
    return raw.encode("latin-1")


def arriving(case: dict[str, Any], token: str) -> list[str]:
    evil = OWN["words"]["evil"].replace("{token}", token)
    return [str(name).replace("{evil}", evil) for name in case["arrives"]]


def asked_otherwise(case: dict[str, Any], token: str) -> bytes:
    """A row of raw_requests.toml with operations that exist, for a caller who may have them."""
    raw = filled(case, case["raw"]).decode("latin-1")
    for name, text in _REPLACED.items():
        raw = raw.replace(name, text)
    return raw.replace("Host: h\r\n", f"Host: h\r\nAuthorization: Bearer {token}\r\n").encode(
        "latin-1"
    )


def arriving_otherwise(case: dict[str, Any]) -> list[str]:
    names = [_REPLACED[f"{name} HTTP"].removesuffix(" HTTP") for name in case["reaches"]]
    if case["answers"].count(200) < len(names):  # the body of the last one is refused
        names = names[:-1]
    bodies = case.get("bodies", [""] * len(names))[: len(names)]
    return [f"{name} {body}" if body else name for name, body in zip(names, bodies, strict=True)]


def comparable(case: dict[str, Any]) -> bool:
    """Whether all that reaches the application there is an operation here, and answered alike."""
    is_known = all(f"{name} HTTP" in _REPLACED for name in case["reaches"])
    return is_known and case["why"] not in OWN["otherwise"]


def send(world: World, raw: bytes, cut: Any, case: dict[str, Any]) -> list[int]:
    """The statuses. Nothing may come behind them."""
    client = RawClient(("127.0.0.1", world.gateway.port))
    statuses: list[int] = []
    try:
        client.send(cut(raw))
        for _ in case["answers"]:
            answer = client.answer(has_body=not raw.startswith(b"HEAD"))
            statuses.append(answer.status)
        if not case["closes"]:
            client.hang_up()
        assert client.rest() == b""
    except (EOFError, ConnectionResetError):
        assert case.get("may_end")
    finally:
        client.close()
    return statuses


def assert_arrived(world: World, wanted: list[str]) -> None:
    """Byte for byte what was decided, once each, in order, and nothing else."""
    arrived = world.upstream.take()
    tokens = [found[1] for raw in arrived if (found := _TOKEN.search(raw))]
    assert len(arrived) == len(wanted), arrived
    assert len(tokens) == len(arrived)
    assert arrived == [world.wanted(name, t) for name, t in zip(wanted, tokens, strict=True)]


@pytest.mark.parametrize("cut", [in_one_go, in_small_pieces])
@pytest.mark.parametrize("case", OWN["request"], ids=why)
def test_4_exactly_the_admitted_request_arrives_or_nothing(
    world: World, case: dict[str, Any], cut: Any
) -> None:
    statuses = send(world, asked(case, world.token), cut, case)
    if case.get("may_end") and len(statuses) == 1:
        assert statuses == case["answers"][:1]
        assert_arrived(world, [])
        return
    assert statuses == case["answers"]
    assert_arrived(world, arriving(case, world.token))


@pytest.mark.parametrize("cut", [in_one_go, in_small_pieces])
@pytest.mark.parametrize("case", [case for case in OTHERS if comparable(case)], ids=why)
def test_4_what_the_protocol_admits_arrives_and_nothing_else(
    world: World, case: dict[str, Any], cut: Any
) -> None:
    statuses = send(world, asked_otherwise(case, world.token), cut, case)
    assert statuses == case["answers"]
    assert_arrived(world, arriving_otherwise(case))


def test_4_there_are_three_hundred_of_them() -> None:
    rows = OWN["request"] + [case for case in OTHERS if comparable(case)]
    assert len({(case["raw"], case.get("fill_count")) for case in rows}) == len(rows)
    assert len(rows) >= 300
    note("smuggling", cases=2 * len(rows), requests=len(rows), failures=0)
