"""`slurm-gateway serve` as a process: listeners, TLS, signals, drain, and what it says."""

import json
import signal
import socket
import ssl
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.ports import free_port
from tests.configurations import token_for
from tests.serving import (
    ENVIRONMENT,
    PROGRAM,
    READ,
    Asking,
    Served,
    SlowSlurm,
    UnixConnection,
    ask_on,
    served,
    trusting,
    write_pair,
)


@pytest.fixture
def slow_slurm() -> Iterator[SlowSlurm]:
    slurm = SlowSlurm()
    yield slurm
    slurm.close()


def outcome_of_start(
    gateway: Served, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """For gateways that must not start."""
    return subprocess.run(
        [str(PROGRAM), "serve", "--config", str(gateway.file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**ENVIRONMENT, **(environment or {})},
    )


# ---- listeners


def test_it_listens_where_it_is_told_and_says_so(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        status, headers, _ = gateway.ask("/")
        assert status == 200
        assert "server" not in headers
        assert "date" in headers
        assert f"public listener: http at 127.0.0.1:{gateway.port}" in gateway.log
        assert f"operations listener: http at 127.0.0.1:{gateway.operations_port}" in gateway.log
        assert gateway.stop() == 0
        assert gateway.log.rstrip().endswith("stopped")


def test_operations_are_never_on_the_public_listener(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        for path in ("/healthz", "/readyz", "/metrics"):
            assert gateway.ask(path)[0] == 401
            assert gateway.operations(path)[0] == 200


def test_forwarded_addresses_are_believed_from_trusted_proxies_only(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        gateway.ask("/", X_Forwarded_For="192.0.2.1", X_Forwarded_Proto="https")
        _await(lambda: bool(gateway.records))
        assert gateway.records[0]["client_address"] == "127.0.0.1"
    with served(tmp_path, {"server": {"trusted_proxies": ["127.0.0.1/32"]}}) as gateway:
        gateway.ask("/", X_Forwarded_For="192.0.2.1")
        _await(lambda: len(gateway.records) == 2)
        assert gateway.records[-1]["client_address"] == "192.0.2.1"


def test_a_unix_socket_has_its_mode_and_is_gone_in_the_end(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    changes = {"server": {"listen": f"unix:{path}", "socket_mode": 0o600}}
    with served(tmp_path, changes) as gateway:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        connection = UnixConnection(path)
        assert ask_on(connection, READ)[0] == 401
        connection.close()
        assert gateway.stop() == 0
    assert not path.exists()


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_the_operations_listener_may_be_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "operations.sock"
    gateway = Served(tmp_path, {"server": {"operations_listen": f"unix:{path}"}})
    gateway.answers = lambda: _accepts(path)  # type: ignore[method-assign]  # there is no port
    gateway.start()
    try:
        connection = UnixConnection(path)
        assert ask_on(connection, "/readyz")[0] == 200
        connection.close()
    finally:
        gateway.stop()


def test_tls_is_1_2_or_newer_and_speaks_http_1_1(tmp_path: Path) -> None:
    with served(tmp_path, write_pair(tmp_path)) as gateway:
        context = trusting()
        context.set_alpn_protocols(["h2", "http/1.1"])
        connection = gateway.connect(context)
        assert ask_on(connection, "/")[0] == 200
        assert isinstance(connection.sock, ssl.SSLSocket)
        assert connection.sock.version() == "TLSv1.3"
        assert connection.sock.selected_alpn_protocol() == "http/1.1"
        connection.close()
        assert f"public listener: https at 127.0.0.1:{gateway.port}" in gateway.log


# ---- starts that must not succeed


def test_a_second_gateway_with_the_same_state_directory_does_not_start(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        other = Served(tmp_path)
        done = outcome_of_start(other)
        assert done.returncode == 1
        assert f"a gateway runs already with {tmp_path}/state (pid {gateway.pid})" in done.stderr


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        done = outcome_of_start(Served(tmp_path, {"server": {"listen": listen}}))
    assert done.returncode == 1
    assert f"cannot listen on {listen}: Address already in use" in done.stderr


def test_everything_that_cannot_be_used_is_said_at_once(tmp_path: Path) -> None:
    gateway = Served(tmp_path, {"authenticate": {"deny_list_file": "/nonexistent/deny"}})
    gateway.write({"audit": {"sinks": [{"type": "file", "path": "/nonexistent/audit"}]}})
    done = outcome_of_start(gateway)
    assert done.returncode == 1
    assert "/nonexistent/deny" in done.stderr
    assert "/nonexistent/audit" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_that_others_can_read_stops_the_start_and_is_not_shown(tmp_path: Path) -> None:
    gateway = Served(tmp_path)
    key = tmp_path / "jwt_hs256.key"
    key.write_bytes(b"canary-key-" * 4)
    key.chmod(0o644)
    done = outcome_of_start(gateway)
    assert done.returncode == 1
    assert "chmod 0400" in done.stderr
    assert "canary" not in done.stdout + done.stderr


def test_an_identity_provider_that_is_down_does_not_stop_the_start(tmp_path: Path) -> None:
    issuer = {"issuer": f"http://127.0.0.1:{free_port()}", "audiences": ["a"]}
    rule = {"issuer": issuer["issuer"], "claim": "uid"}
    changes = {"authenticate": {"issuers": [issuer]}, "map_user": {"rules": [rule]}}
    with served(tmp_path, changes) as gateway:
        assert gateway.operations("/readyz")[0] == 503
        assert gateway.ask("/")[0] == 200


def test_the_environment_goes_over_the_file(tmp_path: Path) -> None:
    gateway = Served(tmp_path)
    gateway.start({"SLURM_GATEWAY__SERVER__PUBLIC_URL": "https://elsewhere.example.org"})
    try:
        body = gateway.ask("/.well-known/oauth-protected-resource")[2]
        assert json.loads(body)["resource"] == "https://elsewhere.example.org"
    finally:
        gateway.stop()


# ---- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_finishes_while_nothing_new_begins(
    number: signal.Signals, tmp_path: Path, slow_slurm: SlowSlurm
) -> None:
    with served(tmp_path, {"forward": {"upstream": slow_slurm.url}}) as gateway:
        idle = gateway.connect()
        assert ask_on(idle, "/")[0] == 200
        asking = Asking(gateway, token_for("alice"))
        assert slow_slurm.asked.wait(60)
        gateway.tell(number)
        gateway.await_log("draining")
        assert idle.sock.recv(1) == b"", "an idle connection is closed"
        idle.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gateway.port), timeout=5)
        status, body = gateway.operations("/readyz")
        assert (status, json.loads(body)["parts"]["draining"]["ok"]) == (503, False)
        assert gateway.operations("/healthz")[0] == 200
        slow_slurm.go.set()
        status, _, body = asking.wait()
        assert (status, body) == (200, b'{"late":1}')
        assert gateway.stop() == 0
    assert [record["complete"] for record in gateway.records] == [True, True]


def test_a_request_that_outlasts_the_drain_is_cut_off_and_recorded(
    tmp_path: Path, slow_slurm: SlowSlurm
) -> None:
    changes = {"forward": {"upstream": slow_slurm.url}, "server": {"drain_seconds": 0.5}}
    with served(tmp_path, changes) as gateway:
        asking = Asking(gateway, token_for("alice"))
        assert slow_slurm.asked.wait(60)
        assert gateway.stop() == 0
        assert isinstance(asking.wait(), OSError), "no half answer, and none that is made up"
        assert "1 requests cut off, with 0.5 s to drain" in gateway.log
        assert "Traceback" not in gateway.log
    (record,) = gateway.records
    assert (record["code"], record["complete"]) == ("shutting-down", False)


def test_a_second_signal_ends_the_drain(tmp_path: Path, slow_slurm: SlowSlurm) -> None:
    """Whoever presses Ctrl-C twice means it."""
    changes = {"forward": {"upstream": slow_slurm.url}, "server": {"drain_seconds": 60}}
    with served(tmp_path, changes) as gateway:
        asking = Asking(gateway, token_for("alice"))
        assert slow_slurm.asked.wait(60)
        gateway.tell(signal.SIGINT)
        gateway.await_log("draining: running requests have 60 s")
        assert gateway.stop(signal.SIGINT, seconds=30) == 0
        assert isinstance(asking.wait(), OSError)


def test_a_client_that_never_reads_on_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """TLS waits for the other side's goodbye; a peer that is gone will not say it."""
    with served(tmp_path, write_pair(tmp_path)) as gateway:
        connection = gateway.connect(trusting())
        assert ask_on(connection, "/")[0] == 200
        gateway.stop(seconds=20)
        assert gateway.process is not None
        assert gateway.process.returncode == 0
        connection.close()


def test_nothing_is_left_but_what_should_stay(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        assert (tmp_path / "state/gateway.pid").read_text() == f"{gateway.pid}\n"
        gateway.stop()
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [
        "audit-chain.key",
        "audit-chain.tip",
        "audit-hash.key",
        "audit-initial.key",
        "idempotency.sqlite",
    ]


def test_a_killed_gateway_can_be_started_again(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with served(tmp_path, {"server": {"listen": f"unix:{path}"}}) as gateway:
        gateway.stop(signal.SIGKILL)
        assert path.exists()
        gateway.start()
        connection = UnixConnection(path)
        assert ask_on(connection, READ)[0] == 401
        connection.close()


# ---- what it is and says


def test_no_core_dump_can_hold_a_key(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        limits = Path(f"/proc/{gateway.pid}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]


def test_its_state_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir(mode=0o755)
    with served(tmp_path) as gateway:
        gateway.ask("/")
        files = [tmp_path / "state", *(tmp_path / "state").iterdir(), tmp_path / "audit.jsonl"]
        open_to_others = [path.name for path in files if path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_nothing_of_tokens_or_keys_is_printed_or_recorded(
    tmp_path: Path, slow_slurm: SlowSlurm
) -> None:
    slow_slurm.go.set()
    gateway = Served(tmp_path, {"forward": {"upstream": slow_slurm.url}})
    key = tmp_path / "jwt_hs256.key"
    key.write_bytes(b"canary-key-canary-key-canary-key")
    good, bad = token_for("alice"), token_for("alice", iss="https://evil.example.org")
    gateway.start()
    try:
        assert gateway.ask(READ, good)[0] == 200
        assert gateway.ask(READ, bad)[0] == 401
        assert gateway.ask(f"{READ}?access_token={good}")[0] == 400
        assert gateway.ask(READ, "canary-no-token")[0] == 401
        printed = (
            gateway.operations("/metrics")[1].decode() + gateway.operations("/readyz")[1].decode()
        )
    finally:
        gateway.stop()
    everything = printed + gateway.log + (tmp_path / "audit.jsonl").read_text()
    for secret in ("canary", good.rpartition(".")[2], good.split(".")[1], bad.split(".")[1]):
        assert secret not in everything


def test_every_line_of_the_log_is_one_record(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
            raw.sendall(b"GET /\x1b[31m HTTP/1.1\r\n\r\n")
            raw.recv(1000)
        gateway.stop()
        for line in gateway.log.splitlines():
            assert line[:4].isdigit(), line
            assert line.isprintable(), line


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "host-invalid"),
        (b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", "method-not-allowed"),
        (b"GET /slurm HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "framing-invalid"),
    ],
)
def test_what_the_pipeline_never_sees_is_recorded_and_counted_too(
    raw: bytes, code: str, tmp_path: Path
) -> None:
    with served(tmp_path) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
            connection.sendall(raw)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        document = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert document["code"] == code
        _await(lambda: bool(gateway.records))
        (record,) = gateway.records
        assert (record["request_id"], record["code"]) == (document["request_id"], code)
        assert (
            f'slurm_gateway_refusals_total{{code="{code}"}} 1.0'
            in gateway.operations("/metrics")[1].decode()
        )


def test_connections_above_the_limit_are_closed_and_counted(tmp_path: Path) -> None:
    with served(tmp_path, {"server": {"connections": 1}}) as gateway:
        first = gateway.connect()
        assert ask_on(first, "/")[0] == 200
        with (
            socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as second,
            suppress(ConnectionResetError),  # the same, said more loudly
        ):
            assert second.recv(1) == b""
        assert ask_on(first, "/")[0] == 200
        first.close()
        metrics = gateway.operations("/metrics")[1]
        assert b"slurm_gateway_connections_refused_total 1.0" in metrics


def _await(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
