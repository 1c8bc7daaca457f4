"""`slurm-gateway check`: every mistake with its remedy, every edge tried, nothing written."""

import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gateway.commands.check_remote import measure_skew, read_slurm_time
from lab import certificates
from lab.gateway import settings_for, sign_in_settings
from lab.identity_provider import IdentityProvider
from lab.identity_provider.provider import ACR
from lab.ports import free_port
from lab.slurm import SlurmRelease
from lab.toml_text import Settings, merged, to_toml
from tests.configurations import ISSUER
from tests.serving import Served, served, write_pair

# ---- a slurmrestd whose clock and manners a test can set


@contextmanager
def scripted_slurmrestd(*, ahead: float = 0.0, takes_anything: bool = False) -> Iterator[str]:
    """Serves /slurm/v0.0.42/diag as 24.11 does, with slurmctld's clock ahead by some seconds."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            bad = self.headers["X-SLURM-USER-TOKEN"] == "not-a-token"
            if "v0.0.42" not in self.path and not takes_anything:
                self._answer(404, b"{}")
            elif bad and not takes_anything:
                self._answer(511, b'{"errors":[{"error_number":1007}]}')
            else:
                told = {"set": True, "infinite": False, "number": int(time.time() + ahead)}
                self._answer(200, json.dumps({"statistics": {"req_time": told}}).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_careful_configuration_is_ready(tmp_path: Path) -> None:
    with scripted_slurmrestd() as url:
        gateway = Served(tmp_path, {"forward": {"upstream": url}, **write_pair(tmp_path)})
        gateway.write({"server": {"public_url": "https://localhost"}})
        done = gateway.run("check", "--user", "alice")
    assert done.returncode == 0, done.stdout
    assert "✗" not in done.stdout
    for line in (
        "gateway.toml is valid",
        "certificate and key fit, until",
        f"{ISSUER}: 1 key for RS256",
        "jwt_hs256.key can be used",
        "answers, and refuses a bad token",
        "newest API version: v0.0.42",
        "authenticated read of /slurm/v0.0.42/diag as alice",
        "slurmctld's clock agrees within 1 s",
        "audit.jsonl takes lines",
    ):
        assert line in done.stdout
    assert "\x1b" not in done.stdout


def test_nothing_is_made_or_changed(tmp_path: Path) -> None:
    """Files that root makes could not be written by the gateway's own user."""
    gateway = Served(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    gateway.run("check")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_all_mistakes_of_the_file_come_first_and_nothing_is_tried(tmp_path: Path) -> None:
    gateway = Served(tmp_path)
    gateway.write({"server": {"bogus": 1}, "forward": {"connections": 999}})
    done = gateway.run("check")
    assert done.returncode == 1
    assert "2 mistakes" in done.stderr
    assert done.stdout == ""


def _break_key_mode(gateway: Served) -> None:
    (gateway.folder / "jwt_hs256.key").chmod(0o644)


def _break_key(gateway: Served) -> None:
    (gateway.folder / "jwt_hs256.key").write_bytes(b"short")


def _break_keys(gateway: Served) -> None:
    (gateway.folder / "keys.json").write_text("{")


def _break_state(gateway: Served) -> None:
    gateway.write({"server": {"state_directory": "/nonexistent/state"}})


def _break_privacy(gateway: Served) -> None:
    (gateway.folder / "state").chmod(0o755)
    (gateway.folder / "state/notes").touch()


def _break_audit(gateway: Served) -> None:
    gateway.write({"audit": {"sinks": [{"type": "file", "path": "/nonexistent/audit.jsonl"}]}})


def _break_audit_file(gateway: Served) -> None:
    (gateway.folder / "audit.jsonl").mkdir()


def _break_deny_list(gateway: Served) -> None:
    (gateway.folder / "deny.toml").write_text("[[deny]]\n")
    path = str(gateway.folder / "deny.toml")
    gateway.write({"authenticate": {"deny_list_file": path}})


def _break_table(gateway: Served) -> None:
    (gateway.folder / "users.toml").write_text("[[user]]\nuser = 5\n")
    rule = {"issuer": ISSUER, "table_file": str(gateway.folder / "users.toml")}
    gateway.write({"map_user": {"rules": [rule]}})


def _break_provider(gateway: Served) -> None:
    issuer = {"issuer": f"http://127.0.0.1:{free_port()}", "audiences": ["a"]}
    rule = {"issuer": issuer["issuer"], "claim": "uid"}
    gateway.write({"authenticate": {"issuers": [issuer]}, "map_user": {"rules": [rule]}})


def _break_certificate(gateway: Served) -> None:
    pair = write_pair(gateway.folder)
    (gateway.folder / "tls.crt").write_text("hello")
    gateway.write(pair)


def _break_algorithms(gateway: Served) -> None:
    (issuer,) = gateway.settings["authenticate"]["issuers"]
    gateway.write({"authenticate": {"issuers": [{**issuer, "algorithms": ["ES256"]}]}})


def _break_socket_place(gateway: Served) -> None:
    gateway.write({"server": {"listen": "unix:/nonexistent/gateway.sock"}})


def _leave_alone(gateway: Served) -> None:
    """No slurmrestd listens behind these gateways."""


BREAKAGES: list[tuple[Callable[[Served], None], str]] = [
    (_leave_alone, "slurmrestd at http://127.0.0.1:9: ConnectionRefusedError"),
    (_break_key_mode, "chmod 0400"),
    (_break_key, "has 5 bytes"),
    (_break_keys, "keys.json"),
    (_break_state, "state directory /nonexistent/state does not exist"),
    (_break_privacy, "is open to others and holds notes"),
    (_break_audit, "/nonexistent does not exist"),
    (_break_audit_file, "audit.jsonl cannot be appended to"),
    (_break_deny_list, "deny.toml: entry 1"),
    (_break_table, "users.toml"),
    (_break_provider, "nobody of this issuer gets in"),
    (_break_certificate, "no certificate chain in PEM"),
    (_break_algorithms, "1 key, but none for the algorithms set"),
    (_break_socket_place, "no socket can be made in /nonexistent"),
]


@pytest.mark.parametrize(("damage", "said"), BREAKAGES, ids=[f.__name__ for f, _ in BREAKAGES])
def test_what_is_broken_is_said_and_the_rest_is_tried_all_the_same(
    damage: Callable[[Served], None], said: str, tmp_path: Path
) -> None:
    gateway = Served(tmp_path, {"forward": {"upstream": "http://127.0.0.1:9"}})
    damage(gateway)
    done = gateway.run("check")
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if said in line]
    assert line.lstrip().startswith(("✗", "→"))
    for heading in ("The gateway itself", "Identity providers", "Users", "Slurm", "Audit"):
        assert f"\n{heading}\n" in done.stdout
    assert "Traceback" not in done.stderr + done.stdout


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    gateway = Served(tmp_path)
    with socket.create_server(("127.0.0.1", gateway.port)):
        done = gateway.run("check")
    assert f"✗ cannot listen on 127.0.0.1:{gateway.port}" in done.stdout


def test_a_running_gateway_is_no_reason_to_complain_of_its_ports(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        done = gateway.run("check")
    assert "✓ a gateway runs with this state directory" in done.stdout
    assert "cannot listen" not in done.stdout


def test_a_certificate_for_another_name_is_doubted(tmp_path: Path) -> None:
    done = Served(tmp_path, write_pair(tmp_path)).run("check")
    assert "! the certificate is for localhost, not for slurm.example.org" in done.stdout


def test_somebody_elses_state_directory_says_whom_to_check_as(tmp_path: Path) -> None:
    gateway = Served(tmp_path)
    try:
        os.chown(tmp_path / "state", 65534, 65534)
    except PermissionError:
        pytest.skip("only root can give a directory away")
    done = gateway.run("check")
    assert "sudo -u nobody slurm-gateway check" in done.stdout


def test_a_slurmrestd_that_takes_anything_is_wrong(tmp_path: Path) -> None:
    with scripted_slurmrestd(takes_anything=True) as url:
        done = Served(tmp_path, {"forward": {"upstream": url}}).run("check", "--user", "alice")
    assert done.returncode == 1
    assert "✗ slurmrestd" in done.stdout
    assert "takes a token that is none" in done.stdout
    assert "authenticated read" not in done.stdout


@pytest.mark.parametrize(
    ("ahead", "said", "code"),
    [
        (3600, r"✗ slurmctld's clock is (3600|3599) s ahead: tokens end too soon", 1),
        (20, r"! slurmctld's clock is (20|19) s ahead", 0),
        (-300, r"! slurmctld's clock is (300|299) s behind", 0),
        (2, r"✓ slurmctld's clock agrees within [12] s", 0),
    ],
)
def test_the_clock_skew_to_slurmctld_is_measured(
    ahead: float, said: str, code: int, tmp_path: Path
) -> None:
    with scripted_slurmrestd(ahead=ahead) as url:
        done = Served(tmp_path, {"forward": {"upstream": url}}).run("check", "--user", "alice")
    assert re.search(said, done.stdout), done.stdout
    assert done.returncode == code


@pytest.mark.parametrize(
    ("slurm_time", "before", "after", "skew"),
    [
        (100, 100.2, 100.3, 0.0),
        (99, 99.9, 100.1, 0.0),
        (105, 100.2, 100.4, 4.6),
        (90, 100.0, 100.1, -9.0),
    ],
)
def test_whole_seconds_make_no_skew_of_their_own(
    slurm_time: int, before: float, after: float, skew: float
) -> None:
    assert measure_skew(slurm_time, before, after) == pytest.approx(skew)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (b'{"statistics":{"req_time":1795249441}}', 1795249441),
        (b'{"statistics":{"req_time":{"set":true,"infinite":false,"number":7}}}', 7),
        (b'{"statistics":{"req_time":true}}', None),
        (b'{"statistics":[]}', None),
        (b"[]", None),
        (b"{", None),
        (b"", None),
    ],
)
def test_slurms_time_is_read_in_both_its_forms(body: bytes, seconds: int | None) -> None:
    assert read_slurm_time(body) == seconds


# ---- on the real thing


def real(
    release: SlurmRelease, provider: IdentityProvider, folder: Path, changes: Settings | None = None
) -> Served:
    """The lab's own configuration for a release, as a file that `check` reads."""
    certificates.ensure(folder)
    gateway = Served(folder)
    settings = settings_for(release, provider, folder, free_port(), free_port())
    gateway.file.write_text(to_toml(merged(settings, changes or {})))
    return gateway


@pytest.mark.real
def test_each_release_is_found_ready(
    slurm_release: SlurmRelease, identity_provider: IdentityProvider, tmp_path: Path
) -> None:
    done = real(slurm_release, identity_provider, tmp_path).run("check", "--user", "alice")
    assert done.returncode == 0, done.stdout
    newest = slurm_release.api_versions[0]
    assert f"newest API version: {newest}" in done.stdout
    assert f"authenticated read of /slurm/{newest}/diag as alice" in done.stdout
    assert "slurmctld's clock agrees within 1 s" in done.stdout
    assert f"{identity_provider.issuer}: " in done.stdout


@pytest.mark.real
def test_a_wrong_key_is_found_by_the_authenticated_read_only(
    slurm_release: SlurmRelease, identity_provider: IdentityProvider, tmp_path: Path
) -> None:
    """/ping would say 200 here on 24.11 and 26.05."""
    key = tmp_path / "other.key"
    key.touch(0o600)
    key.write_bytes(os.urandom(32))
    changes: Settings = {"credential": {"key_file": str(key)}}
    gateway = real(slurm_release, identity_provider, tmp_path, changes)
    assert gateway.run("check").returncode == 0
    done = gateway.run("check", "--user", "alice")
    assert done.returncode == 1
    assert "✗ reading as alice: status " in done.stdout


@pytest.mark.real
def test_the_unix_socket_of_slurmrestd_is_tried_too(
    one_slurm_release: SlurmRelease, identity_provider: IdentityProvider, tmp_path: Path
) -> None:
    changes: Settings = {"forward": {"upstream": f"unix:{one_slurm_release.socket}"}}
    gateway = real(one_slurm_release, identity_provider, tmp_path, changes)
    done = gateway.run("check", "--user", "alice")
    assert done.returncode == 0, done.stdout


@pytest.mark.real
@pytest.mark.parametrize(
    ("user", "said"),
    [("root", "never acts as"), ("dave", "has no account"), ("Alice", "not an account name")],
)
def test_a_user_that_no_rule_could_map_is_refused(
    user: str,
    said: str,
    one_slurm_release: SlurmRelease,
    identity_provider: IdentityProvider,
    tmp_path: Path,
) -> None:
    gateway = real(one_slurm_release, identity_provider, tmp_path)
    done = gateway.run("check", "--user", user)
    assert done.returncode == 1
    assert f"✗ {user}: " in done.stdout
    assert said in done.stdout


def with_sign_in(
    release: SlurmRelease, provider: IdentityProvider, folder: Path, changes: Settings
) -> Served:
    """The same, and people sign in with a browser."""
    return real(release, provider, folder, merged(sign_in_settings(provider, folder), changes))


@pytest.mark.real
def test_a_provider_to_sign_in_at_is_asked_and_its_key_and_secret_are_read(
    one_slurm_release: SlurmRelease, identity_provider: IdentityProvider, tmp_path: Path
) -> None:
    asked = {"authorize": {"step_up": [{"operations": ["SUBMIT"], "acr_values": [ACR, "x"]}]}}
    done = with_sign_in(one_slurm_release, identity_provider, tmp_path, asked).run("check")
    assert "✓ lab: people sign in at" in done.stdout
    assert f"{identity_provider.issuer}/auth" in done.stdout
    assert re.search(
        r"✓ lab: its redirect URI is https://localhost:\d+/login/callback/lab", done.stdout
    )
    assert "sessions.key holds 1 key" in done.stdout
    assert "no provider lists" not in done.stdout


@pytest.mark.real
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sign_in": {"encryption_key_file": "/nonexistent"}}, "✗ /nonexistent cannot be read"),
        ({"client_secret_file": "/nonexistent/secret"}, "✗ lab: /nonexistent/secret"),
        ({"metadata_url": "http://127.0.0.1:9/x"}, "✗ lab: http://127.0.0.1:9/x"),
        (
            {"authorize": {"roles": {"user": {"acr_values": ["urn:nobody"]}}}},
            "! authorize.roles.user.acr_values: no provider lists any of urn:nobody",
        ),
    ],
)
def test_what_would_keep_people_from_signing_in_is_said(
    one_slurm_release: SlurmRelease,
    identity_provider: IdentityProvider,
    tmp_path: Path,
    changes: Settings,
    said: str,
) -> None:
    if not {"sign_in", "authorize"} & set(changes):
        settings = sign_in_settings(identity_provider, tmp_path)
        changes = {"sign_in": {"clients": [{**settings["sign_in"]["clients"][0], **changes}]}}
    done = with_sign_in(one_slurm_release, identity_provider, tmp_path, changes).run("check")
    assert said in done.stdout
    assert "Traceback" not in done.stderr + done.stdout
