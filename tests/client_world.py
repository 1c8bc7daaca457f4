"""A gateway on loopback that answers the client as a test tells it, and somebody's files."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import httpx2

from gateway.client.asking import Gateway
from gateway.client.place import Place

PROBLEM = "application/problem+json"


@dataclass(frozen=True)
class Told:
    """One answer."""

    status: int = 200
    content: Any = field(default_factory=dict)
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        if isinstance(self.content, bytes):
            return self.content
        return json.dumps(self.content).encode()


@dataclass(frozen=True)
class Heard:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class ScriptedGateway:
    """Answers by method and path; each list of answers is worked off, and its last one stays."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.heard: list[Heard] = []
        self.pauses: list[float] = []
        self._answers: dict[str, list[Told]] = {}

    def tell(self, request: str, *answers: Told) -> None:
        """ "GET /slurm/v0.0.42/ping" -> these answers, in turn."""
        self._answers[request] = list(answers)

    def targets(self) -> list[str]:
        """What was asked for, in order."""
        return [f"{one.method} {one.target}" for one in self.heard]

    def reply(self, heard: Heard) -> Told | None:
        """None hangs up without a word."""
        return self.answer(heard.method, heard.target)

    def answer(self, method: str, target: str) -> Told:
        answers = self._answers.get(f"{method} {target.partition('?')[0]}")
        if not answers:
            return Told(404, b"Unable find requested URL.", "text/plain")
        return answers.pop(0) if len(answers) > 1 else answers[0]


Made = TypeVar("Made", bound=ScriptedGateway)


@contextmanager
def scripted_gateway() -> Iterator[ScriptedGateway]:
    """One that runs."""
    with running_gateway(ScriptedGateway) as made:
        yield made


@contextmanager
def running_gateway(kind: type[Made]) -> Iterator[Made]:
    """One of this kind that runs."""
    made: list[Made] = []

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            heard = Heard(self.command, self.path, headers, self.rfile.read(length))
            made[0].heard.append(heard)
            told = made[0].reply(heard)
            if told is None:
                self.close_connection = True
                return
            self.send_response(told.status)
            given = {"Content-Type": told.media_type, "Content-Length": str(len(told.body))}
            for name, value in {**given, **told.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(told.body)

        do_GET = do_POST = do_DELETE = _serve  # noqa: N815 (their names)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its name)
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.append(kind(f"http://127.0.0.1:{server.server_port}"))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def asked(scripted: ScriptedGateway) -> Iterator[Gateway]:
    """The client's side of it."""
    token = "token-of-a-test"

    def current(*, refused: str = "") -> str:
        return f"{token}-renewed" if refused else token

    with httpx2.Client(timeout=60, follow_redirects=False) as http:
        yield Gateway(Place(scripted.url), http, current, scripted.pauses.append)


def problem(code: str, status: int, **more: Any) -> Told:
    """A refusal as the gateway writes it."""
    headers = more.pop("headers", {})
    content = {"code": code, "status": status, "title": "No", "request_id": "r1", **more}
    return Told(status, content, PROBLEM, headers)
