"""forward-auth: real nginx that asks the gateway before each read, and sends slurmrestd exactly what was decided."""

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lab import certificates
from lab.ports import free_port
from lab.toml_text import Settings
from tests.configurations import token_for
from tests.serving import PROBLEM, Served, UnixConnection, ask_on, served

CONFIGURATION = Path(__file__).parent.parent.parent / "deploy/nginx/forward-auth.conf"
VERSION = "v0.0.42"
READ = f"/slurm/{VERSION}/diag"


ALLOW = ["READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE"]


class RecordedSlurm:
    """A slurmrestd that says yes and keeps every request as it came."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            whole = b""
            while b"\r\n\r\n" not in whole:
                piece = connection.recv(65536)
                if not piece:
                    return
                whole += piece
            self.requests.append(whole)
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
            connection.sendall(head + b'Content-Length: 8\r\n\r\n{"x": 1}')
            connection.recv(1)

    @property
    def last(self) -> tuple[str, dict[str, str]]:
        """(request line, headers in small letters) of the last request."""
        line, *headers = self.requests[-1].decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
        pairs = (header.partition(":") for header in headers)
        return line, {name.lower(): value.strip() for name, _, value in pairs}


@dataclass
class Site:
    """nginx, the gateway beside it, and slurmrestd behind both."""

    gateway: Served
    slurm: RecordedSlurm
    decisions: Path
    port: int = 0
    ca_file: Path = field(default_factory=Path)

    def decide(self, method: str, target: str, token: str | None = None, **headers: str) -> Any:
        """(status, headers, body) from the socket itself."""
        connection = UnixConnection(self.decisions)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        connection.request(method, target, headers=sent)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

    def ask(self, method: str, target: str, token: str | None = None, **headers: str) -> Any:
        """(status, headers, body) through nginx."""
        context = ssl.create_default_context(cafile=str(self.ca_file))
        connection = http.client.HTTPSConnection(
            "localhost", self.port, context=context, timeout=60
        )
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        body = sent.pop("body", None)
        connection.request(method, target, body, headers=sent)
        answer = connection.getresponse()
        whole = answer.read()
        connection.close()
        return answer.status, answer.headers, whole

    def records(self, request_id: str) -> list[dict[str, Any]]:
        """All lines of the audit of one request."""
        end = time.monotonic() + 60
        while True:
            found = [line for line in self.gateway.lines if line.get("request_id") == request_id]
            if found or time.monotonic() > end:
                return found
            time.sleep(0.02)


def settings(folder: Path, slurm: RecordedSlurm) -> Settings:
    return {
        "server": {
            "listen": f"unix:{folder}/g.sock",
            "forward_auth_listen": f"unix:{folder}/f.sock",
        },
        "forward": {"upstream": f"http://{slurm.address}"},
        "map_user": {
            "roles": [
                {"issuer": "https://idp.example.org", "role": "all", "when": {"uid": "alice"}}
            ]
        },
        "authorize": {
            "roles": {
                "user": {"allow": ALLOW, "own_jobs_only": True},
                "all": {"allow": ALLOW},
            }
        },
        "limit": {"rates": {"read": "100000/second", "read-heavy": "5/hour"}},
    }


@contextmanager
def running(folder: Path) -> Iterator[Site]:
    slurm = RecordedSlurm()
    with served(folder, settings(folder, slurm)) as gateway:
        yield Site(gateway, slurm, folder / "f.sock")
    slurm.listener.close()


@contextmanager
def with_nginx(site: Site) -> Iterator[None]:
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx")
    folder = site.gateway.folder / "nginx"
    folder.mkdir()
    site.port, site.ca_file = free_port(), folder / "ca.crt"
    file = folder / "nginx.conf"
    file.write_text(nginx_configuration(folder, site))
    process = subprocess.Popen([program, "-c", str(file), "-e", f"{folder}/error.log"])
    try:
        await_listening(site.port, process, folder / "error.log")
        yield
    finally:
        process.terminate()
        process.wait(60)


def await_listening(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while True:
        assert process.poll() is None, log.read_text()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running(tmp_path_factory.mktemp("f")) as site:
        yield site


@pytest.fixture(scope="module")
def shared_front(shared: Site) -> Iterator[Site]:
    with with_nginx(shared):
        yield shared


@pytest.fixture
def site(shared: Site) -> Site:
    """Whose limits and audit all tests here share; each with its own people, where it matters."""
    shared.slurm.requests.clear()
    return shared


@pytest.fixture
def front(shared_front: Site, site: Site) -> Site:
    return site


def nginx_configuration(folder: Path, site: Site) -> str:
    """The published file with this test's paths and port."""
    files = certificates.ensure(folder)
    text = CONFIGURATION.read_text()
    for published, here in (
        ("unix:/run/slurm-gateway/gateway.sock", f"unix:{site.gateway.folder}/g.sock"),
        ("unix:/run/slurm-gateway/forward-auth.sock", f"unix:{site.decisions}"),
        ("server 127.0.0.1:6820", f"server {site.slurm.address}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{site.port} ssl"),
        ("/etc/nginx/tls/slurm.example.org.crt", str(files.certificate)),
        ("/etc/nginx/tls/slurm.example.org.key", str(files.key)),
        ("server_name slurm.example.org", "server_name localhost"),
    ):
        assert published in text.replace(f"server {here}", ""), published
        text = text.replace(f"    {published};", f"    {here};").replace(published, here)
    return (
        f"user root; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; client_body_temp_path {folder}/body;\n"
        f"proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;\n"
        f"scgi_temp_path {folder}/s;\n{text}}}\n"
    )


# ---- the decision itself


def test_a_decision_is_the_target_and_the_headers_and_one_record(site: Site) -> None:
    target = f"/slurm/{VERSION}/jobs?flags=DETAIL&update_time=7"
    status, headers, body = site.decide("GET", target, token_for("alice"))
    assert (status, body) == (204, b"")
    assert headers["x-gateway-target"] == target
    assert headers["x-slurm-user-name"] == "alice"
    assert headers["x-slurm-user-token"].count(".") == 2
    assert headers["x-gateway-accept"] == "application/json"
    assert headers["cache-control"] == "no-store"
    assert site.slurm.requests == [], "nothing was forwarded"
    (record,) = site.records(headers["x-request-id"])
    told = {name: record[name] for name in ("event", "user", "verdict", "status", "note")}
    assert told == {
        "event": "end",
        "user": "alice",
        "verdict": "granted",
        "status": 204,
        "note": "decision-only",
    }
    assert headers["x-slurm-user-token"] not in json.dumps(site.gateway.lines) + site.gateway.log


def test_the_target_that_is_handed_out_is_the_canonical_one(site: Site) -> None:
    status, headers, _ = site.decide("GET", f"/slurm/{VERSION}/%64iag", token_for("alice"))
    assert (status, headers.get("x-gateway-target")) == (204, READ)


@pytest.mark.parametrize(
    ("asked", "token", "status", "code"),
    [
        (f"GET {READ}", "", 401, "token-missing"),
        (f"GET {READ}", "nonsense", 401, "token-invalid"),
        (f"GET /slurm/{VERSION}/job/%2e%2e", "alice", 400, "target-malformed"),
        (f"GET /slurm/{VERSION}/nothing", "alice", 403, "operation-unlisted"),
        ("GET /gateway/errors/busy", "alice", 403, "operation-unlisted"),
        ("GET /gateway/user", "alice", 403, "decision-incomplete"),
        (f"GET /slurm/{VERSION}/jobs", "olga", 403, "decision-incomplete"),
        (f"GET /slurm/{VERSION}/jobs?gateway.limit=3", "alice", 403, "decision-incomplete"),
        (f"DELETE /slurm/{VERSION}/job/7", "olga", 403, "decision-incomplete"),
    ],
)
def test_what_may_not_pass_gets_its_problem_and_no_token(
    site: Site, asked: str, token: str, status: int, code: str
) -> None:
    bearer = token_for(token) if token in ("alice", "olga") else token
    method, target = asked.split()
    answer, headers, body = site.decide(method, target, bearer)
    problem = json.loads(body)
    assert (answer, problem["code"]) == (status, code)
    assert json.loads(headers["x-gateway-problem"]) == problem
    assert not [name for name in headers if "slurm" in name or name == "x-gateway-target"]
    (record,) = site.records(headers["x-request-id"])
    assert (record["verdict"], record["code"]) == ("denied", problem["code"])
    assert record["note"].startswith("decision-only")


def test_a_submission_is_the_gateways_own_business(site: Site) -> None:
    target = f"/slurm/{VERSION}/job/submit"
    key = {"Idempotency_Key": '"k"', "Content_Type": "application/json"}
    for more in (key, {"Content_Type": "application/json"}):
        length = {"Content_Length": "2"}
        status, _, body = site.decide("POST", target, token_for("alice"), **length, **more)
        assert (status, json.loads(body)["code"]) == (403, "decision-incomplete")


def test_decisions_are_limited_and_leave_nothing_running(site: Site) -> None:
    target = f"/slurm/{VERSION}/nodes"
    answers = [site.decide("GET", target, token_for("lena"))[0] for _ in range(7)]
    assert answers == [204] * 5 + [429] * 2
    assert {site.decide("GET", READ, token_for("alice"))[0] for _ in range(40)} == {204}


def test_it_is_off_unless_it_is_asked_for_and_never_on_a_network(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        status, headers, _ = gateway.ask(READ, token_for("alice"))
        assert "x-slurm-user-token" not in headers
        assert status == 502
    loud = Served(tmp_path, {"server": {"forward_auth_listen": "127.0.0.1:9"}})
    done = loud.run("serve")
    assert done.returncode == 1
    assert "server.forward_auth_listen" in done.stderr


def test_the_socket_is_for_its_group_alone_and_without_the_gateway_nothing_passes(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(tmp_path_factory.mktemp("g")) as site, with_nginx(site):
        assert site.decisions.stat().st_mode & 0o777 == 0o660
        site.gateway.stop()
        assert not site.decisions.exists()
        status, headers, body = site.ask("GET", READ, token_for("alice"))
        assert (status, json.loads(body)["code"]) == (503, "no-decision")
        assert headers["content-type"] == PROBLEM
        assert site.slurm.requests == []


# ---- through nginx


def test_nginx_sends_exactly_what_was_decided(front: Site) -> None:
    smuggled = {
        "X_SLURM_USER_NAME": "root",
        "X_SLURM_USER_TOKEN": "forged",
        "X_Gateway_Target": "/slurm/v0.0.42/reconfigure",
        "Cookie": "a=b",
        "Accept": "application/x-yaml",
    }
    target = f"/slurm/{VERSION}/%6aobs?flags=DETAIL"
    status, headers, body = front.ask("GET", target, token_for("alice"), **smuggled)
    assert (status, body) == (200, b'{"x": 1}')
    line, sent = front.slurm.last
    assert line == f"GET /slurm/{VERSION}/jobs?flags=DETAIL HTTP/1.1"
    assert set(sent) == {"host", "connection", "accept", "x-slurm-user-name", "x-slurm-user-token"}
    assert sent["x-slurm-user-name"] == "alice"
    assert sent["x-slurm-user-token"].count(".") == 2
    assert sent["x-slurm-user-token"] not in str(headers)
    (record,) = front.records(headers["x-request-id"])
    assert (record["note"], record["client_address"]) == ("decision-only", "127.0.0.1")


@pytest.mark.parametrize(
    ("target", "user", "status", "code"),
    [
        (READ, "", 401, "token-missing"),
        (f"/slurm/{VERSION}/nothing", "alice", 403, "operation-unlisted"),
        (f"/slurm/{VERSION}//diag", "alice", 400, "target-malformed"),
        (f"/slurm/{VERSION}/job/%2e%2e", "alice", 400, "target-malformed"),
    ],
)
def test_a_refusal_reaches_the_client_as_the_gateway_meant_it(
    front: Site, target: str, user: str, status: int, code: str
) -> None:
    answer, headers, body = front.ask("GET", target, token_for(user) if user else None)
    problem = json.loads(body)
    assert (answer, problem["code"]) == (status, code)
    assert headers["content-type"] == PROBLEM
    assert headers.get_all("x-request-id") == [problem["request_id"]]
    if status in (401, 403):
        assert [one[:6] for one in headers.get_all("www-authenticate")] == ["Bearer"]
    assert front.slurm.requests == []


def test_a_limit_is_429_with_when_to_come_back(front: Site) -> None:
    target = f"/slurm/{VERSION}/nodes"
    answers = [front.ask("GET", target, token_for("lars")) for _ in range(6)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429]
    assert int(answers[-1][1]["retry-after"]) > 0
    assert json.loads(answers[-1][2])["code"] == "rate-exceeded"


def test_what_the_head_cannot_decide_goes_through_the_gateway(front: Site) -> None:
    """Reads of a role with own jobs only, and whatever is no read."""
    status, _, _ = front.ask("GET", f"/slurm/{VERSION}/jobs", token_for("olga"))
    assert status in (200, 502), "filtered by the gateway, which cannot read this answer as jobs"
    assert "x-slurm-user-name" in front.slurm.last[1]
    status, _, _ = front.ask("DELETE", f"/slurm/{VERSION}/job/7", token_for("alice"))
    assert status == 200
    assert front.slurm.last[0] == f"DELETE /slurm/{VERSION}/job/7 HTTP/1.1"
    events = [line["event"] for line in front.gateway.lines if line.get("user") == "alice"]
    assert events[-2:] == ["begin", "end"], "as ever"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/.well-known/oauth-protected-resource", 200),
        ("/gateway/errors/token-missing", 200),
        ("/login", 404),
    ],
)
def test_what_the_gateway_says_by_itself_needs_no_decision(
    front: Site, path: str, status: int
) -> None:
    """Nobody can sign in here, so that /login is not there; but it is the gateway who says so."""
    answer, headers, _ = front.ask("GET", path, None)
    assert answer == status
    assert "www-authenticate" not in headers
    assert front.slurm.requests == []


def test_a_body_never_reaches_slurmrestd_past_the_gateway(front: Site) -> None:
    """Since 23.11 a body replaces the query, of a GET too."""
    status, _, _ = front.ask("GET", READ, token_for("alice"), body="flags=EVERYTHING")
    assert status in (200, 400, 403)
    for request in front.slurm.requests:
        assert request.endswith(b"\r\n\r\n")
        assert b"ontent-" not in request
        assert b"EVERYTHING" not in request


def test_the_public_socket_hands_out_nothing(site: Site) -> None:
    connection = UnixConnection(site.gateway.folder / "g.sock")
    status, headers, _ = ask_on(connection, READ, token_for("alice"))
    connection.close()
    assert status == 200
    assert not [name for name in headers if name.startswith(("x-slurm", "x-gateway"))]
