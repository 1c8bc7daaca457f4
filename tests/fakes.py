"""One fake for each Protocol of the core, and the values that tests begin with."""

import errno
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.audit.sinks import Turn
from gateway.denial import Denied
from gateway.model import (
    AuditRecord,
    AuthorizedCall,
    ClusterUser,
    Identity,
    InboundRequest,
    Operation,
    Risk,
    Secret,
    Target,
    UpstreamCredential,
)
from gateway.stages.limit import Rate, Refusal

ISSUER = "https://idp.example.org"


class FakeClock:
    """A clock that moves when it is told to."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class FakeLease:
    """Counts how often it was given back."""

    def __init__(self) -> None:
        self.released = 0

    def release(self) -> None:
        self.released += 1


class FakeRateStore:
    """Counts hits in one fixed window that never ends."""

    def __init__(self) -> None:
        self.hits: dict[str, int] = {}

    async def hit(self, rate: Rate, key: str) -> Refusal | None:
        return self.hit_at_once(rate, key)

    def hit_at_once(self, rate: Rate, key: str) -> Refusal | None:
        count = self.hits.get(key, 0)
        if count >= rate.amount:
            return Refusal(float(rate.window_seconds))
        self.hits[key] = count + 1
        return None


class FakeSink:
    """An audit's main sink in memory that can be told to fail, and to be out of room."""

    size = 0
    may_lag = lags = False

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.error: OSError | None = None
        self.turn: Turn | None = None
        self.room_to = sys.maxsize
        self.settled: list[bool] = []
        self.closed = False

    def begin(self, problem: str = "") -> Turn | None:
        """Nothing to begin."""

    def write(self, lines: Sequence[bytes]) -> int:
        self.repair()
        self.lines += lines
        self.size += sum(map(len, lines))
        return len(lines)

    def make_room(self, count: int) -> None:
        if self.size + count > self.room_to:
            raise OSError(errno.ENOSPC, "No space left on device")

    def look(self) -> Turn | None:
        turn, self.turn = self.turn, None
        return turn

    rotate = look

    def repair(self) -> Turn | None:
        if self.error is not None:
            raise self.error
        return None

    async def settle(self, *, durable: bool) -> None:
        self.repair()
        self.settled.append(durable)

    def close(self) -> None:
        self.closed = True

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]


class StageDouble:
    """Stands for any one stage of the pipeline: notes its name in `trace`, answers or refuses."""

    def __init__(self, name: str, trace: list[str], answer: Any) -> None:
        self.name, self.trace, self.answer = name, trace, answer

    def decide(self, *arguments: object) -> Any:
        self.trace.append(self.name)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    async def decide_later(self, *arguments: object) -> Any:
        return self.decide(*arguments)


def make_request(**changes: object) -> InboundRequest:
    """A plain read with a token."""
    request = InboundRequest(
        request_id="00000000000000000000000000000001",
        method="GET",
        target=Target("/slurm/v0.0.38/jobs"),
        bearer=Secret("header.payload.signature"),
        accept="application/json",
        length=0,
        media_type="",
        expects_continue=False,
        client_address="192.0.2.7",
        forwarded_for="",
    )
    return request._replace(**changes)  # type: ignore[arg-type]  # rows name fields freely


def make_identity(**changes: object) -> Identity:
    """Alice, signed in at ISSUER."""
    identity = Identity(
        issuer=ISSUER,
        subject="subject-of-alice",
        client_id="cli",
        kind="user",
        groups=(),
        issued_at=1_800_000_000.0,
        expires=1_800_003_600.0,
        token_hash="00ff",
        claims={"sub": "subject-of-alice", "preferred_username": "alice"},
    )
    return replace(identity, **changes)  # type: ignore[arg-type]  # rows name fields freely


def make_user(name: str = "alice", roles: tuple[str, ...] = ("user",)) -> ClusterUser:
    return ClusterUser(name, roles, rule="map_user.rules[0]", uid=1001, gid=1001)


def make_call(
    template: str = "/slurm/{version}/jobs",
    risk: Risk = Risk.READ,
    method: str = "GET",
    *,
    changes_state: bool = False,
    takes_body: bool = False,
) -> AuthorizedCall:
    operation = Operation(method, template, risk, changes_state, takes_body)
    version = "v0.0.38"
    target = template.replace("{version}", version).replace("{job_id}", "1")
    return AuthorizedCall(operation, version, target.encode(), risk, f"allow[{risk}]")


def make_record(**changes: object) -> AuditRecord:
    record = AuditRecord("00000000000000000000000000000001", 1_800_000_000.25, method="GET")
    for name, value in changes.items():
        assert name in AuditRecord.__dataclass_fields__
        setattr(record, name, value)
    return record


def make_credential(user: str = "alice") -> UpstreamCredential:
    return UpstreamCredential(user, Secret("canary-slurm-token"))


def refused(denied: Denied) -> tuple[str, int]:
    """What a refusal shows first."""
    return denied.reason.code, denied.reason.status
