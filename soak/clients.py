"""A user's token -> endless submissions, reads and cancels, each answer noted; a lost one is asked for again."""

import http.client
import json
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Any

from lab.gateway import GatewayProcess
from lab.submission import submission
from soak.ledger import Heard, Ledger

PATIENCE_SECONDS = 150.0
"""How long a submission is repeated until somebody says what became of it."""
FINAL_CODES = frozenset({"outcome-unknown"})
HELD = 0.9
_BROKEN = (OSError, http.client.HTTPException)
_ANSWER_SECONDS = 120.0


@dataclass(frozen=True)
class Reply:
    """One answer, read to its end."""

    status: int
    body: bytes
    retry_after: float | None

    @property
    def code(self) -> str:
        """The gateway's own code for a refusal; empty for Slurm's answers."""
        with suppress(ValueError, AttributeError):
            return str(json.loads(self.body).get("code", ""))
        return ""


class Client:
    """One kept connection of one user."""

    def __init__(
        self, gateway: GatewayProcess, version: str, token: str, ledger: Ledger, folder: str
    ) -> None:
        self._gateway, self._version, self._token = gateway, version, token
        self.ledger, self._folder = ledger, folder
        self._connection: http.client.HTTPSConnection | None = None

    def ask(
        self, kind: str, method: str, path: str, body: bytes | None = None, key: str = ""
    ) -> Reply | None:
        """One request; None when its answer did not come to its end."""
        headers = {"Authorization": f"Bearer {self._token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Idempotency-Key"] = f'"{key}"'
        connection = self._connected()
        if connection is None:
            return None
        try:
            connection.request(method, f"/slurm/{self._version}{path}", body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except _BROKEN:
            self.close()
            self.ledger.miss()
            time.sleep(0.1)
            return None
        wait = answer.headers.get("Retry-After")
        reply = Reply(answer.status, content, float(wait) if wait else None)
        self._note(kind, answer.headers["X-Request-Id"] or "", reply)
        return reply

    def _connected(self) -> http.client.HTTPSConnection | None:
        """The connection, if there is one. While the gateway is down nothing is sent, and nothing lost."""
        if self._connection is None:
            fresh = self._gateway.connect(_ANSWER_SECONDS)
            try:
                fresh.connect()
            except _BROKEN:
                time.sleep(0.1)
                return None
            self._connection = fresh
        return self._connection

    def _note(self, kind: str, request_id: str, reply: Reply) -> None:
        job_id = 0
        if kind == "submit" and reply.status == 200:
            job_id = int(json.loads(reply.body)["job_id"])
        self.ledger.hear(Heard(request_id, kind, reply.status, reply.code, job_id))

    def close(self) -> None:
        """The next request makes a new connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def submit(self, command: str = "", *, hold: bool = False) -> int | None:
        """One job, by one key, until it is known what became of it; its number."""
        key = f"soak-{uuid.uuid4().hex}"
        # The job itself writes down that it runs, so that Slurm's memory is not asked for it.
        script = f'#!/bin/sh\necho "$SLURM_JOB_ID" >> {self._folder}/{key}\n{command}\n'
        job = submission(self._version, script, name=key, requeue=False, hold=hold)
        body = json.dumps(job).encode()
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            if self._connected() is None:
                continue
            self.ledger.use(key)
            reply = self.ask("submit", "POST", "/job/submit", body, key)
            if reply is None:
                continue
            if reply.status == 200:
                job_id = int(json.loads(reply.body)["job_id"])
                self.ledger.settle(key, job_id)
                return job_id
            if reply.code in FINAL_CODES and reply.retry_after is None:
                return None
            time.sleep(min(reply.retry_after or 0.3, 2.0))
        return None


def submit_on(client: Client, stopped: Event, chance: random.Random) -> None:
    """Short jobs. Most stay held, because two cores run few in a second; Slurm has them in its list for the count."""
    while not stopped.wait(chance.random()):
        client.submit(hold=chance.random() < HELD)


def read_on(client: Client, stopped: Event, chance: random.Random) -> None:
    """Reads of all sizes."""
    paths = ("/diag", "/ping", "/jobs", "/nodes", "/partitions", "/job/4000000")
    while not stopped.wait(chance.random() * 0.05):
        client.ask("read", "GET", chance.choice(paths))


def cancel_on(client: Client, stopped: Event, chance: random.Random) -> None:
    """Longer jobs that do not live to their end. A cancel is never repeated."""
    while not stopped.wait(1.0 + chance.random()):
        job_id = client.submit("sleep 20")
        if job_id is not None:
            client.ask("cancel", "DELETE", f"/job/{job_id}")


Role = Callable[[Client, Event, random.Random], None]


def roles(submitters: int) -> list[Role]:
    """What each user does at the same time."""
    return [*[submit_on] * submitters, read_on, cancel_on]


def run_role(role: Role, stopped: Event, seed: int, *arguments: Any) -> None:
    """One client from its first request to its last."""
    client = Client(*arguments)
    try:
        role(client, stopped, random.Random(seed))  # noqa: S311 (when to ask is no secret)
    finally:
        client.close()
