"""A whole gateway before an upstream that keeps every byte it is sent: what came out is what is judged."""

import base64
import json
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.toml_text import Settings, merged
from tests.configurations import ISSUER, token_for
from tests.integration.crowd import UNLIMITED, eventually
from tests.integration.marked_upstream import marker
from tests.security.raw_server import Answer, RawClient
from tests.serving import Served, served
from tests.tokens import public_jwk

BASE = "/slurm/v0.0.38"
DIAG, JOBS, SUBMIT = f"{BASE}/diag", f"{BASE}/jobs", f"{BASE}/job/submit"
PICKY = "https://picky.example.org"
"""An issuer whose one key is for PS256, and whose users' names are matched by an admin's poor pattern."""
LARGE_BYTES = 30_000_000

_NAME = re.compile(rb"\r\nX-SLURM-USER-NAME: ([^\r]*)\r\n")
_TOKEN = re.compile(rb"\r\nX-SLURM-USER-TOKEN: ([^\r]*)\r\n")
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")
_REFUSED = b"HTTP/1.1 511 X\r\nContent-Length: 2\r\nConnection: Close\r\n\r\n{}"


@dataclass(frozen=True)
class Sent:
    """One request as it left the gateway."""

    head: bytes
    body: bytes

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def names(self) -> list[str]:
        """Field names in lower case, `_` for `-`: whatever a careless reader would take for one."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        found = [line.partition(":")[0].strip().lower() for line in lines if line]
        return [name.replace("_", "-") for name in found]

    @property
    def user(self) -> str:
        found = _NAME.findall(self.head)
        assert len(found) == 1
        return str(found[0].decode())

    @property
    def slurm_claims(self) -> dict[str, Any]:
        """What is in the Slurm token."""
        found = _TOKEN.findall(self.head)
        assert len(found) == 1
        try:
            payload = base64.urlsafe_b64decode(found[0].split(b".")[1] + b"==")
            claims: dict[str, Any] = json.loads(payload)
        except (ValueError, IndexError):
            return {}
        return claims


class Recorder:
    """A slurmrestd that checks each request, says the user's name, and forgets nothing."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.answer: bytes | None = None
        """Said instead of the user's name, once."""
        self.closes_after_answer = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        data = b""
        with connection, suppress(OSError):
            while True:
                while b"\r\n\r\n" not in data:
                    if not (piece := connection.recv(65536)):
                        return
                    data += piece
                end = data.index(b"\r\n\r\n") + 4
                head, data = data[:end], data[end:]
                stated = _LENGTH.search(head)
                length = int(stated[1]) if stated else 0
                while len(data) < length:
                    data += connection.recv(65536)
                body, data = data[:length], data[length:]
                reply = self._reply(Sent(head, body))
                connection.sendall(reply)
                if self.closes_after_answer or reply == _REFUSED:
                    return

    def _reply(self, sent: Sent) -> bytes:
        if sent.slurm_claims.get("sun") != sent.user:
            return _REFUSED  # the gateway's own probe
        self.sent.append(sent)
        if self.answer is not None:
            answer, self.answer = self.answer, None
            return answer
        own = marker(sent.user)
        size = LARGE_BYTES if sent.line.split()[1] == JOBS else 300
        body = (own * (size // len(own) + 1))[:size]
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nContent-Type: application/json\r\n\r\n"
        )
        return head.encode() + body

    def close(self) -> None:
        self._listener.close()


@dataclass(frozen=True)
class Site:
    """The gateway, what is behind it, and ways to ask."""

    gateway: Served
    recorder: Recorder

    def forget(self) -> None:
        self.recorder.sent.clear()
        self.recorder.answer = None

    def has_probed(self) -> bool:
        told = json.loads(self.gateway.operations("/readyz")[1])
        return "'checks_each_request': True" in str(told)

    def connect(self) -> RawClient:
        return RawClient(("127.0.0.1", self.gateway.port))

    def send(self, *pieces: bytes) -> bytes:
        """Raw bytes on a connection of its own; everything that comes back until it ends."""
        client = self.connect()
        client.send(pieces)
        client.wait_for_answer()
        client.hang_up()
        try:
            return client.rest()
        finally:
            client.close()

    def ask(
        self,
        target: str = DIAG,
        *fields: str,
        method: str = "GET",
        bearer: str | None = "alice",
        body: bytes = b"",
    ) -> Answer:
        """One request; `bearer` is a whole token, or the name of a user who gets a good one."""
        client = self.connect()
        client.send([request(target, *fields, method=method, bearer=bearer, body=body)])
        try:
            return client.answer()
        finally:
            client.close()

    def code(self, answer: Answer) -> str:
        """The code of a refusal, and nothing was sent."""
        assert self.recorder.sent == []
        return str(json.loads(answer.body)["code"])

    @property
    def only(self) -> Sent:
        """The one request that was sent."""
        (sent,) = self.recorder.sent
        return sent


def request(
    target: str = DIAG,
    *fields: str,
    method: str = "GET",
    bearer: str | None = "alice",
    body: bytes = b"",
) -> bytes:
    """Its bytes."""
    lines = [f"{method} {target} HTTP/1.1", "Host: slurm.example.org"]
    if bearer is not None:
        good = bearer if "." in bearer or len(bearer) > 40 else token_for(bearer)
        lines.append(f"Authorization: Bearer {good}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *fields, "", ""]).encode("latin-1") + body


def settings(folder: Path, upstream: str) -> Settings:
    """Two issuers; deadlines of a second."""
    picky = folder / "picky.json"
    picky.write_text(json.dumps({"keys": [public_jwk("rsa:picky", alg="PS256")]}))
    audience = ["https://slurm.example.org"]
    issuers: Sequence[Settings] = [
        {"issuer": ISSUER, "audiences": audience, "jwks_file": str(folder / "keys.json")},
        {
            "issuer": PICKY,
            "audiences": audience,
            "jwks_file": str(picky),
            "algorithms": ["RS256", "PS256"],
        },
    ]
    return {
        "server": {"header_seconds": 1, "drain_seconds": 1},
        "receive": {"body_idle_seconds": 1},
        "authenticate": {"issuers": issuers},
        "map_user": {
            "rules": [
                {"issuer": ISSUER, "claim": "uid"},
                {"issuer": PICKY, "claim": "uid", "pattern": "((a+)+)+"},
            ]
        },
        "forward": {"upstream": upstream, "connections": 8},
    }


@contextmanager
def recorded_gateway(folder: Path, changes: Settings | None = None) -> Iterator[Site]:
    """A running one."""
    recorder = Recorder()
    try:
        base = merged(UNLIMITED, settings(folder, recorder.url))
        with served(folder, merged(base, changes or {})) as gateway:
            site = Site(gateway, recorder)
            site.ask()
            eventually(site.has_probed)  # the probe's own requests are none of a test's
            yield site
    finally:
        recorder.close()
