"""The published nginx configuration in front of the gateway: the real nginx, TLS, and a UNIX socket between them."""

import http.client
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import certificates
from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.ports import free_port
from lab.slurm import SlurmRelease
from tests.serving import START_SECONDS

CONFIGURATION = Path(__file__).parent.parent.parent / "deploy/nginx/gateway.conf"


@dataclass
class Front:
    """nginx, and the gateway behind it."""

    port: int
    ca_file: Path
    gateway: GatewayProcess

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return http.client.HTTPSConnection("localhost", self.port, context=context, timeout=60)

    def ask_raw(self, request: bytes) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secure,
        ):
            secure.sendall(request)
            return b"".join(iter(lambda: secure.recv(65536), b""))


def nginx_configuration(folder: Path, port: int, gateway_socket: Path) -> str:
    """The published file with this test's paths and port, in the least main file that nginx starts with."""
    files = certificates.ensure(folder)
    text = CONFIGURATION.read_text()
    for published, here in (
        ("unix:/run/slurm-gateway/gateway.sock", f"unix:{gateway_socket}"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("/etc/nginx/tls/slurm.example.org.crt", str(files.certificate)),
        ("/etc/nginx/tls/slurm.example.org.key", str(files.key)),
        ("server_name slurm.example.org", "server_name localhost"),
    ):
        assert published in text, f"{published} is no longer in {CONFIGURATION.name}"
        text = text.replace(published, here)
    return (
        f"user root; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        f"events {{}}\nhttp {{ access_log off; client_body_temp_path {folder}/body;\n"
        f"proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u;\n"
        f"scgi_temp_path {folder}/s;\n{text}}}\n"
    )


@pytest.fixture
def front(
    tmp_path: Path, one_slurm_release: SlurmRelease, gateway: Callable[..., GatewayProcess]
) -> Iterator[Front]:
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("nginx is not installed: apt-get install nginx")
    gateway_socket = tmp_path / "g.sock"
    listening = {"listen": f"unix:{gateway_socket}", "trust_unix_peer": True}
    no_tls = {"tls_certificate_file": None, "tls_key_file": None}
    behind = gateway(one_slurm_release, {"server": {**listening, **no_tls}})
    folder = tmp_path / "nginx"
    folder.mkdir()
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(nginx_configuration(folder, port, gateway_socket))
    process = subprocess.Popen([program, "-c", str(file), "-e", f"{folder}/error.log"])
    await_port(port, process, folder / "error.log")
    yield Front(port, folder / "ca.crt", behind)
    process.terminate()
    process.wait(60)


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"nginx does not listen: {log.read_text()}")


def test_a_read_through_nginx_is_audited_with_the_clients_address(
    front: Front, identity_provider: IdentityProvider
) -> None:
    """And what the client itself claims in X-Forwarded-For is not believed."""
    connection = front.connect()
    headers = {
        "Authorization": f"Bearer {identity_provider.token_for('alice')}",
        "X-Forwarded-For": "203.0.113.9",
    }
    connection.request("GET", "/slurm/v0.0.38/jobs", headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 200
    assert answer.headers["Strict-Transport-Security"]
    record = front.gateway.audit_record(answer.headers["X-Request-Id"])
    assert record["client_address"] == "127.0.0.1"
    assert record["user"] == "alice"


@pytest.mark.parametrize(
    "target", [b"/slurm//v0.0.38/jobs", b"/slurm/v0.0.38/%2e/jobs", b"/slurm/v0.0.38/jobs%2f"]
)
def test_nginx_hands_on_a_target_as_it_came_so_that_the_gateway_refuses_it(
    front: Front, target: bytes
) -> None:
    """A proxy that tidied the path would turn a refusal into a request."""
    answer = front.ask_raw(
        b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"target-malformed"' in answer


def test_an_upload_and_its_answer_pass_unbuffered(
    front: Front, identity_provider: IdentityProvider
) -> None:
    """A body of 5 MB reaches slurmrestd, whose own limit on scripts then refuses it."""
    connection = front.connect()
    body = b'{"job": {}, "script": "#!/bin/sh\\n#' + b"x" * 5_000_000 + b'"}'
    headers = {
        "Authorization": f"Bearer {identity_provider.token_for('alice')}",
        "Content-Type": "application/json",
    }
    connection.request("POST", "/slurm/v0.0.38/job/submit", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    record = front.gateway.audit_record(answer.headers["X-Request-Id"])
    assert record["bytes_in"] == len(body)
    assert record["verdict"] == "granted"
    assert record["status"] == answer.status >= 400
