"""(Slurm release, OpenID provider, folder) -> the real gateway as a process of its own, configured between the two."""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import sys
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import certificates, places
from lab.identity_provider import IdentityProvider
from lab.identity_provider.provider import CLI_CLIENT, MACHINE_CLIENT, SCOPE, WEB_CLIENT, WEB_NAME
from lab.processes import CLEAN_ENVIRONMENT, LabError, Launch, Recorded, execute
from lab.slurm import SlurmRelease
from lab.toml_text import Settings, merged, to_toml

READY_SECONDS = 120.0
MACHINE_USER = "carol"


def audit_sink(path: Path) -> dict[str, Any]:
    """A file whose disk is waited for: that of a machine which unpacks and installs meanwhile hangs for seconds."""
    return {"type": "file", "path": str(path), "patience_seconds": 60}


def settings_for(
    release: SlurmRelease, provider: IdentityProvider, folder: Path, port: int, operations_port: int
) -> dict[str, Any]:
    """What an admin would write: people by their user name, one machine by a fixed rule, operators by their group."""
    files = certificates.ensure(folder)
    issuer = provider.issuer
    return {
        "server": {
            "listen": f"127.0.0.1:{port}",
            "tls_certificate_file": str(files.certificate),
            "tls_key_file": str(files.key),
            "public_url": f"https://localhost:{port}",
            "operations_listen": f"127.0.0.1:{operations_port}",
            "state_directory": str(folder / "state"),
            "cluster": "lab",
        },
        "authenticate": {
            "issuers": [
                {
                    "issuer": issuer,
                    "audiences": [provider.audience],
                    "profile": "rfc9068",
                    "groups_claim": "groups",
                    "cli_client_id": CLI_CLIENT,
                    "cli_scopes": ["openid", "profile", "offline_access", SCOPE],
                }
            ]
        },
        "map_user": {
            "rules": [
                {
                    "issuer": issuer,
                    "when": {"client_id": MACHINE_CLIENT},
                    "fixed_user": MACHINE_USER,
                },
                {"issuer": issuer, "claim": "preferred_username"},
            ],
            "roles": [{"issuer": issuer, "role": "operator", "when": {"groups": "hpc-operators"}}],
            "forbidden_users": ["root", "slurm"],
        },
        "authorize": {
            "roles": {
                "user": {"allow": ["READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE"]},
                "operator": {"allow": ["READ-ACCOUNTING", "READ-SENSITIVE", "JOB-WRITE-BULK"]},
            }
        },
        "credential": {"provider": "mint", "key_file": str(release.key_file)},
        "forward": {"upstream": release.url},
        "audit": {"sinks": [audit_sink(folder / "audit.jsonl")]},
    }


def sign_in_settings(provider: IdentityProvider, folder: Path) -> dict[str, Any]:
    """[sign_in] for the browser: the provider must have been made for this gateway's URL."""
    key, secret = folder / "sessions.key", folder / "web.secret"
    if not key.exists():
        places.write_private(key, base64.b64encode(os.urandom(32)) + b"\n")
    places.write_private(secret, provider.client_secret(WEB_CLIENT).encode())
    return {
        "sign_in": {
            "encryption_key_file": str(key),
            "clients": [
                {
                    "name": WEB_NAME,
                    "title": "Lab University",
                    "issuer": provider.issuer,
                    "client_id": WEB_CLIENT,
                    "client_secret_file": str(secret),
                    "scopes": ["openid", "profile", "email", "groups", "offline_access"],
                }
            ],
        }
    }


@dataclass(frozen=True)
class Answer:
    """What the gateway said."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class GatewayProcess:
    """``slurm-gateway serve`` in a folder with its configuration, certificates, log and audit."""

    def __init__(self, folder: Path, settings: Settings, checkout: Path = places.CHECKOUT) -> None:
        self.folder = folder
        self.hear: Callable[[Answer], None] = lambda _: None
        """Called with each answer that `ask` gets."""
        self.launch: Launch = execute
        """How its process comes to be."""
        self.settings = dict(settings)
        self._program = checkout / ".venv/bin/slurm-gateway"

    @property
    def configuration_file(self) -> Path:
        """gateway.toml."""
        return self.folder / "gateway.toml"

    @property
    def url(self) -> str:
        """Where clients connect, without a slash at the end."""
        return str(self.settings["server"]["public_url"])

    @property
    def operations_url(self) -> str:
        """Where /healthz, /readyz and /metrics are, without a slash at the end."""
        return f"http://{self.settings['server']['operations_listen']}"

    @property
    def ca_file(self) -> Path:
        """What clients have to trust."""
        return self.folder / "ca.crt"

    @property
    def audit_file(self) -> Path:
        """One JSON line a request."""
        return self.folder / "audit.jsonl"

    @property
    def log(self) -> Path:
        """What it printed."""
        return self.folder / "gateway.log"

    @property
    def process(self) -> Recorded:
        """The record of the running process."""
        return Recorded(self.folder / "pid", "python", "the gateway")

    def write_configuration(self, changes: Settings | None = None) -> None:
        """Write gateway.toml, with changes laid over the settings."""
        self.settings = merged(self.settings, changes or {})
        text = "# Written by the lab at every start; a copy of it is a place to begin.\n"
        places.write_private(self.configuration_file, (text + to_toml(self.settings)).encode())

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Write the configuration, start the gateway and wait until it is ready. LabError with the log's end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write_configuration()
        command = [str(self._program), "serve", "--config", str(self.configuration_file)]
        inherited = {"PYTHONDONTWRITEBYTECODE": "1"} if sys.dont_write_bytecode else {}
        whole = {**CLEAN_ENVIRONMENT, **inherited, **(environment or {})}
        self.process.start(command, self.log, whole, self.launch)
        try:
            self.process.await_answer(self.is_ready, READY_SECONDS, self.log)
        except LabError:
            self.stop()
            raise

    @property
    def pid(self) -> int | None:
        """The number of its process; None when it does not run."""
        return self.process.pid()

    def stop(self, seconds: float = 35.0) -> bool:
        """SIGTERM, as a service manager does, and wait for the end. False: it did not run."""
        return self.process.stop(seconds)

    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        host = str(self.settings["server"]["operations_listen"])
        connection = http.client.HTTPConnection(host, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def connect(self, seconds: float = 60.0) -> http.client.HTTPSConnection:
        """A TLS connection to it that trusts its authority and no other."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        address = urllib.parse.urlsplit(self.url)
        return http.client.HTTPSConnection(
            "localhost", address.port, context=context, timeout=seconds
        )

    def ask(
        self,
        method: str,
        target: str,
        token: str | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own; a body that is not bytes is sent as JSON."""
        sent = dict(headers or {})
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if payload is not None:
            sent.setdefault("Content-Type", "application/json")
        connection = self.connect()
        try:
            connection.request(method, target, payload, sent)
            answer = connection.getresponse()
            heard = Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()
        self.hear(heard)
        return heard

    def audit_records(self) -> list[dict[str, Any]]:
        """The last record of every request so far, the oldest first."""
        if not self.audit_file.exists():
            return []
        lines = [json.loads(line) for line in self.audit_file.read_text().splitlines()]
        return [line for line in lines if line["event"] in ("end", "denied")]

    def audit_record(self, request_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """The record of one request, which may be written a moment after the answer. LabError when there is none."""
        deadline = time.monotonic() + seconds
        while True:
            for record in self.audit_records():
                if record["request_id"] == request_id:
                    return record
            if time.monotonic() > deadline:
                raise LabError(f"no audit record of request {request_id}")
            time.sleep(0.05)
