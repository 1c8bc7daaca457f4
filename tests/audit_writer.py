"""Records -> lines of an audit chain, written by the format alone: what the readers are tested with."""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

KEY = bytes(range(32))
CHAIN = "c0ffee00c0ffee00c0ffee00c0ffee00"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def key_file(chain: str = CHAIN, key: bytes = KEY) -> str:
    return json.dumps({"chain": chain, "key": key.hex()})


@dataclass
class Writer:
    """A small writer. `key_every` lines the key moves on, `head_every` lines there is a head."""

    chain: str = CHAIN
    key: bytes = KEY
    key_every: int = 1000
    head_every: int = 0
    epoch: int = 0
    seq: int = 0
    mac: bytes = b""
    moment: datetime = START
    lines: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        said = b"slurm-gateway audit chain v1" + self.chain.encode()
        self.mac = hashlib.sha256(said).digest()[:16]

    def write(self, event: str = "end", **facts: Any) -> bytes:
        """One line, and those that are due behind it."""
        line = self._seal(event, facts)
        if self.key_every and self.seq % self.key_every == 0:
            self.move_key()
        if self.head_every and self.seq % self.head_every == 0:
            self._seal("head", {"epoch": self.epoch, "head": self.mac.hex()})
        return line

    def write_all(self, records: Iterable[dict[str, Any]]) -> "Writer":
        for record in records:
            self.write(**record)
        return self

    def move_key(self) -> None:
        self._seal("key", {"epoch": self.epoch + 1})
        self.epoch += 1
        said = b"slurm-gateway audit key v1" + self.epoch.to_bytes(8, "big")
        self.key = hmac.new(self.key, said, "sha256").digest()

    def _seal(self, event: str, facts: dict[str, Any]) -> bytes:
        self.seq += 1
        self.moment += timedelta(milliseconds=10)
        members = {"seq": self.seq, "chain": self.chain, "event": event}
        members["time"] = self.moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
        body = json.dumps({**members, **facts}, separators=(",", ":"))[:-1].encode()
        self.mac = hmac.new(self.key, self.mac + body, "sha256").digest()[:16]
        line = b'%b,"mac":"%b"}\n' % (body, self.mac.hex().encode())
        self.lines.append(line)
        return line


def request(request_id: str = "r1", **changes: Any) -> dict[str, Any]:
    """The members of an "end" line, with changes."""
    return {
        "request_id": request_id,
        "cluster": "example",
        "issuer": "https://idp.example",
        "subject": "s-alice",
        "client_id": "portal",
        "token_hash": "00" * 16,
        "user": "alice",
        "roles": ["user"],
        "client_address": "192.0.2.1",
        "forwarded_for": "",
        "method": "GET",
        "operation": "GET /slurm/*/jobs",
        "target": "/slurm/v0.0.42/jobs",
        "verdict": "granted",
        "code": "",
        "rule": "READ",
        "note": "",
        "status": 200,
        "body_sha256": "",
        "slurm_errors": [],
        "job_ids": [],
        "bytes_in": 0,
        "bytes_out": 812,
        "upstream_ms": 3.25,
        "total_ms": 4.0,
        "complete": True,
    } | changes
