"""A gateway or a provider that means harm gets no token, no command of this machine and no word to the terminal."""

import re
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.client import oauth
from gateway.client.asking import Gateway, open_http
from gateway.client.loopback import Listener, Loopback
from gateway.client.metadata import Endpoints, read_endpoints, read_registrations
from gateway.client.options import tell
from gateway.client.place import Place
from gateway.client.trouble import Exit, Trouble
from tests.client_world import ScriptedGateway, Told, problem, scripted_gateway

RESOURCE = "GET /.well-known/oauth-protected-resource"
DISCOVERY = "GET /.well-known/openid-configuration"
JOBS = "GET /slurm/v0.0.42/jobs"
SPEAKS = "\x1b]0;owned\x07\x1b[31mred\u202e"


@pytest.fixture
def scripted() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as made:
        yield made


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with open_http(None, 5) as made:
        yield made


def asked_with(http: httpx2.Client, url: str, token: str) -> Gateway:
    def given(*, refused: str = "") -> str:
        return token

    return Gateway(Place(url), http, given, lambda _: None)


@pytest.mark.parametrize(
    "token",
    ["canary\nsecond-line", "canary\rx", "canary\x00", "canary-\u00fc", "canary x", "", "="],
)
def test_a_token_that_is_none_is_neither_sent_nor_shown(
    scripted: ScriptedGateway, http: httpx2.Client, token: str
) -> None:
    """The error of a header field that cannot be sent would quote it."""
    with pytest.raises(Trouble) as raised:
        asked_with(http, scripted.url, token).ask("GET", "/slurm/v0.0.42/jobs")
    assert raised.value.code is Exit.NOT_PERMITTED
    assert "canary" not in str(raised.value.facts())
    assert scripted.heard == []


def test_what_is_for_this_machine_goes_through_no_proxy(
    scripted: ScriptedGateway, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain http is for this machine alone: a proxy would read the token."""
    with scripted_gateway() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        scripted.tell(JOBS, Told(200, {"jobs": []}))
        with open_http(None, 5) as made:
            asked_with(made, scripted.url, "token").ask("GET", "/slurm/v0.0.42/jobs")
        scripted.tell("POST /token", Told(200, {"access_token": "a", "token_type": "Bearer"}))
        client = oauth.Client(scripted.url, "cli", (), Endpoints(f"{scripted.url}/token"))
        assert oauth.refresh(client, "refresh").access_token == "a"
        assert proxy.heard == []
    assert len(scripted.heard) == 2


@pytest.mark.parametrize(
    "content", [b"[" * 200_000, b'{"a":' * 200_000, b'{"a":' + b"9" * 5000 + b"}"]
)
def test_json_without_end_is_a_sentence(
    scripted: ScriptedGateway, http: httpx2.Client, content: bytes
) -> None:
    scripted.tell(JOBS, Told(200, content))
    scripted.tell("POST /token", Told(200, content))
    with pytest.raises(Trouble) as raised:
        asked_with(http, scripted.url, "token").ask("GET", "/slurm/v0.0.42/jobs")
    assert raised.value.code is Exit.UNREADABLE_ANSWER
    client = oauth.Client(scripted.url, "cli", (), Endpoints(f"{scripted.url}/token"))
    with pytest.raises(Trouble) as raised:
        oauth.refresh(client, "refresh")
    assert raised.value.code is Exit.UNREADABLE_ANSWER


@pytest.mark.parametrize(
    "after", ["²".encode(), b"\xb2", b"9" * 5000, b"-1", b"1.5", b"", "١".encode()]
)
def test_a_time_to_wait_that_is_none_is_not_waited_for(
    scripted: ScriptedGateway, http: httpx2.Client, after: bytes
) -> None:
    told = problem("rate-exceeded", 429, headers={"Retry-After": after.decode("latin-1")})
    scripted.tell(JOBS, told)
    with pytest.raises(Trouble) as raised:
        asked_with(http, scripted.url, "token").ask("GET", "/slurm/v0.0.42/jobs")
    assert raised.value.problem == "rate-exceeded"


@pytest.mark.parametrize(
    "members",
    [
        {"command_line_clients": ["x", None, 7]},
        {"command_line_clients": [{"issuer": ["x"], "client_id": {}}]},
        {"authorization_servers": [{}, ["x"], None]},
        {"authorization_servers": {"x": 1}},
    ],
)
def test_metadata_of_other_types_name_nobody(
    scripted: ScriptedGateway, http: httpx2.Client, members: Mapping[str, Any]
) -> None:
    scripted.tell(RESOURCE, Told(200, {"resource": scripted.url, **members}))
    with pytest.raises(Trouble, match="does not say who issues its tokens") as raised:
        read_registrations(http, scripted.url)
    assert raised.value.code is Exit.UNREADABLE_ANSWER


@pytest.mark.parametrize("members", [{}, {"resource": None}, {"resource": ["x"]}])
def test_metadata_have_to_say_whose_they_are(
    scripted: ScriptedGateway, http: httpx2.Client, members: Mapping[str, Any]
) -> None:
    """RFC 9728 section 3.3: `resource` is required, and what is not ours must not be used."""
    servers = {"authorization_servers": ["https://idp.example.org"]}
    scripted.tell(RESOURCE, Told(200, {**servers, **members}))
    with pytest.raises(Trouble, match="does not say whose"):
        read_registrations(http, scripted.url)


@pytest.mark.parametrize(
    "issuer",
    [
        "http://idp.example.org",
        "ftp://localhost",
        "file://localhost/etc",
        "https://[",
        "https://",
        "https://idp.example.org:99999",
        "https://idp.example.org/\x1b[31m",
        "",
    ],
)
def test_an_issuer_that_is_no_private_url_is_not_asked(http: httpx2.Client, issuer: str) -> None:
    with pytest.raises(Trouble, match="is not https"):
        read_endpoints(http, issuer)


ENDPOINTS = (
    "token_endpoint",
    "authorization_endpoint",
    "device_authorization_endpoint",
    "revocation_endpoint",
)


@pytest.mark.parametrize("member", ENDPOINTS)
@pytest.mark.parametrize(
    "url",
    [
        "file://localhost/C:/Windows/System32/calc.exe",
        "vscode://localhost/open",
        "smb://127.0.0.1/share/x.exe",
        "javascript://localhost/%0aalert(1)",
        "http://idp.example.org/token",
        "https://idp.example.org/\x1b]0;owned\x07",
        "https://idp.example.org/a b",
        "https://[",
        "https://mallory@idp.example.org/token",
        ["https://idp.example.org"],
    ],
)
def test_an_endpoint_is_a_web_address_and_nothing_else(
    scripted: ScriptedGateway, http: httpx2.Client, member: str, url: object
) -> None:
    """A browser is opened at one of them, which on this machine could be any program."""
    good = {name: f"{scripted.url}/{name}" for name in ENDPOINTS}
    scripted.tell(DISCOVERY, Told(200, {"issuer": scripted.url, **good, member: url}))
    scripted.tell("GET /.well-known/oauth-authorization-server", Told(404, {}))
    with pytest.raises(Trouble, match=f"{member} is not https"):
        read_endpoints(http, scripted.url)


def test_an_issuer_elsewhere_has_no_endpoint_on_this_machine(
    scripted: ScriptedGateway, http: httpx2.Client
) -> None:
    """Or a provider could have the client post to whatever listens here."""
    issuer = "https://idp.example.org"
    content = {"issuer": issuer, "token_endpoint": f"{scripted.url}/token"}
    far = httpx2.Client(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json=content))
    )
    with far, pytest.raises(Trouble, match="token_endpoint is not https"):
        read_endpoints(far, issuer)


COMMANDS = {
    "ping": ("GET /slurm/v0.0.42/ping", {"pings": [{"hostname": SPEAKS, "mode": SPEAKS}]}),
    "watch 1": (
        "GET /slurm/v0.0.42/job/1",
        {
            "jobs": [
                {
                    "job_id": 1,
                    "array_job_id": 1,
                    "array_task_string": SPEAKS,
                    "job_state": [SPEAKS],
                    "nodes": SPEAKS,
                }
            ]
        },
    ),
    "cancel 1": (
        "DELETE /slurm/v0.0.42/job/1",
        {"errors": [{"error": "no", "error_number": SPEAKS}]},
    ),
    "cancel 2": (
        "DELETE /slurm/v0.0.42/job/2",
        {"status": [{"error": {"code": SPEAKS, "string": "no"}}]},
    ),
    "job 1": ("GET /slurm/v0.0.42/job/1", {"errors": [{"error_number": SPEAKS}]}),
    "jobs": (
        "GET /slurm/v0.0.42/jobs",
        {"jobs": [{"job_id": 1, "job_state": "RUNNING", "name": SPEAKS}]},
    ),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_words_of_others_speak_to_the_terminal(scripted: ScriptedGateway, command: str) -> None:
    request, content = COMMANDS[command]
    scripted.tell(request, Told(200, content))
    variables = {
        "SLURM_GATEWAY_URL": scripted.url,
        "SLURM_GATEWAY_TOKEN": "token",
        "SLURM_GATEWAY_API_VERSION": "v0.0.42",
    }
    done = CliRunner().invoke(main, command.split(), color=True, env=variables)
    assert not isinstance(done.exception, AttributeError | TypeError | ValueError)
    own = re.sub(r"\x1b\[[0-9;]*m", "", done.output) if "\x1b[31mred" not in done.output else "\x1b"
    assert "owned" in own or command == "job 1"
    assert not set(own) & set("\x1b\x07\u202e")


def test_what_went_wrong_does_not_speak_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tell(Trouble(Exit.NOT_PERMITTED, f"No: {SPEAKS}", f"do {SPEAKS}"), as_json=False)
    printed = capsys.readouterr().err
    assert printed.count("owned") == 2
    assert not set(printed) & set("\x07\u202e")


def test_a_browser_that_asks_for_anything_else_is_told_so_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    loopback = Loopback()
    base = loopback.redirect_uri.rpartition("/")[0]
    codes: list[int] = []

    def browse() -> None:
        port = int(base.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as odd:
            odd.sendall(b"GET http://[ HTTP/1.1\r\n\r\n")
            odd.recv(1)
        for path in (
            "//[",
            "/callback?state=x&code=stolen",
            "/callback?code=stolen",
            "/?state=right",
        ):
            try:
                urllib.request.urlopen(base + path, timeout=5)  # noqa: S310 (a listener of ours)
            except (urllib.error.HTTPError, OSError) as error:
                codes.append(getattr(error, "code", 0))
        urllib.request.urlopen(f"{base}/callback?state=right&code=good", timeout=5)  # noqa: S310

    browser = threading.Thread(target=browse)
    browser.start()
    try:
        assert loopback.await_code("right", "https://idp.example.org", 20) == "good"
    finally:
        loopback.close()
        browser.join()
    assert codes == [404, 404, 404, 404]
    assert capfd.readouterr() == ("", "")


def test_nobody_else_can_listen_at_the_same_port() -> None:
    """SO_REUSEADDR lets others take the port over on Windows; a port that is free needs none."""
    with Listener(("127.0.0.1", 0), BaseHTTPRequestHandler) as listener:
        assert not listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
