"""SIGHUP and `slurm-gateway reload`: everything at once, or nothing at all."""

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.toml_text import Settings
from tests.configurations import ISSUER, token_for
from tests.serving import (
    READ,
    Asking,
    Served,
    SlowSlurm,
    ask_on,
    served,
    trusting,
    write_pair,
)

NOTHING: Settings = {"authorize": {"roles": {"user": {"allow": []}}}}


@pytest.fixture
def slow_slurm() -> Iterator[SlowSlurm]:
    slurm = SlowSlurm()
    yield slurm
    slurm.close()


def verdict(gateway: Served, token: str) -> str:
    """The code that a read gets; what is allowed finds no slurmrestd."""
    code: str = json.loads(gateway.ask(READ, token)[2])["code"]
    return code


ALLOWED, REFUSED = "upstream-unreachable", "operation-unlisted"
"""No slurmrestd listens behind these gateways."""
AWAY: Settings = {"forward": {"upstream": "http://127.0.0.1:9"}}


def test_a_new_policy_is_in_force_when_reload_returns(tmp_path: Path) -> None:
    with served(tmp_path, AWAY) as gateway:
        token = token_for("alice")
        assert verdict(gateway, token) == ALLOWED
        gateway.write(NOTHING)
        assert verdict(gateway, token) == ALLOWED, "a file alone changes nothing"
        done = gateway.run("reload")
        assert (done.returncode, done.stdout.split(" is")[0]) == (0, "Generation 2")
        assert verdict(gateway, token) == REFUSED
        assert b"slurm_gateway_generation 2.0" in gateway.operations("/metrics")[1]


def test_sighup_does_the_same(tmp_path: Path) -> None:
    with served(tmp_path, AWAY) as gateway:
        gateway.write(NOTHING)
        gateway.tell(signal.SIGHUP)
        gateway.await_log("generation 2 is in force")
        assert verdict(gateway, token_for("alice")) == REFUSED


def test_mistakes_are_printed_and_the_gateway_is_left_alone(tmp_path: Path) -> None:
    with served(tmp_path, AWAY) as gateway:
        gateway.write(NOTHING)
        gateway.write({"forward": {"connections": 999}, "server": {"bogus": 1}})
        done = gateway.run("reload")
        assert done.returncode == 1
        assert "forward.connections: must be less than or equal to 120" in done.stderr
        assert "server.bogus: is not a setting" in done.stderr
        assert "Nothing was changed" in done.stderr
        assert "reload" not in gateway.log, "it was not even asked"
        assert verdict(gateway, token_for("alice")) == ALLOWED


def test_sighup_with_mistakes_changes_nothing_and_logs_all_of_them(tmp_path: Path) -> None:
    with served(tmp_path, AWAY) as gateway:
        gateway.write(NOTHING)
        gateway.write({"forward": {"connections": 999}, "server": {"bogus": 1}})
        gateway.tell(signal.SIGHUP)
        gateway.await_log("reload refused: server.bogus")
        assert "reload refused: forward.connections" in gateway.log
        assert verdict(gateway, token_for("alice")) == ALLOWED


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"server": {"listen": "127.0.0.1:1"}}, "server.listen: cannot change while"),
        ({"server": {"cluster": "other"}}, "server.cluster: cannot change while"),
        ({"forward": {"connections": 9}}, "forward.connections: cannot change while"),
        ({"authenticate": {"deny_list_file": "/nonexistent"}}, "/nonexistent: No such file"),
        (
            {"map_user": {"rules": [{"issuer": ISSUER, "table_file": "/nonexistent"}]}},
            "/nonexistent: No such file",
        ),
        ({"credential": {"key_file": "/nonexistent"}}, "/nonexistent"),
        (
            {"audit": {"sinks": [{"type": "file", "path": "/nonexistent/audit"}]}},
            "/nonexistent/audit",
        ),
    ],
)
def test_what_is_valid_but_cannot_be_used_changes_nothing_at_all(
    changes: Settings, said: str, tmp_path: Path
) -> None:
    with served(tmp_path, AWAY) as gateway:
        gateway.write(NOTHING)
        gateway.write(changes)
        done = gateway.run("reload")
        assert done.returncode == 1
        assert said in done.stderr
        assert verdict(gateway, token_for("alice")) == ALLOWED
        assert gateway.operations("/readyz")[0] == 200
        assert b"slurm_gateway_generation 1.0" in gateway.operations("/metrics")[1]


def test_a_table_that_has_turned_bad_refuses_the_reload(tmp_path: Path) -> None:
    table = tmp_path / "users.toml"
    row = f'[[user]]\nissuer = "{ISSUER}"\nsubject = "subject-of-alice"\nuser = "alice"\n'
    table.write_text(row)
    rule = {"issuer": ISSUER, "table_file": str(table)}
    with served(tmp_path, {**AWAY, "map_user": {"rules": [rule]}}) as gateway:
        token = token_for("alice")
        assert verdict(gateway, token) == ALLOWED
        table.write_text("[[user]]\nissuer = 5\n")
        done = gateway.run("reload")
        assert done.returncode == 1
        assert "users.toml" in done.stderr
        assert verdict(gateway, token) == ALLOWED


def test_a_new_table_counts_at_once(tmp_path: Path) -> None:
    """Without a reload it would within seconds; with one it has when the command returns."""
    table = tmp_path / "users.toml"
    row = f'[[user]]\nissuer = "{ISSUER}"\nsubject = "subject-of-%s"\nuser = "alice"\n'
    table.write_text(row % "alice")
    rule = {"issuer": ISSUER, "table_file": str(table)}
    with served(tmp_path, {**AWAY, "map_user": {"rules": [rule]}}) as gateway:
        table.write_text(row % "bob")
        assert gateway.run("reload").returncode == 0
        assert verdict(gateway, token_for("alice")) == "user-unmapped"
        assert verdict(gateway, token_for("bob")) == ALLOWED


def test_new_keys_of_a_file_count_at_once_and_old_verdicts_are_forgotten(tmp_path: Path) -> None:
    with served(tmp_path, AWAY) as gateway:
        token = token_for("alice")
        assert verdict(gateway, token) == ALLOWED
        (tmp_path / "keys.json").write_text('{"keys": []}')
        done = gateway.run("reload")
        assert done.returncode == 1, "a key set without a usable key is a mistake"
        assert verdict(gateway, token) == ALLOWED


def served_certificate(gateway: Served) -> bytes:
    connection = gateway.connect(trusting())
    try:
        connection.connect()
        found: bytes = connection.sock.getpeercert(binary_form=True)  # type: ignore[union-attr]
        return found
    finally:
        connection.close()


def test_a_renewed_certificate_is_shown_to_new_connections_and_old_ones_live_on(
    tmp_path: Path,
) -> None:
    with served(tmp_path, write_pair(tmp_path)) as gateway:
        kept = gateway.connect(trusting())
        assert ask_on(kept, "/")[0] == 200
        before = served_certificate(gateway)
        write_pair(tmp_path)
        assert served_certificate(gateway) == before
        assert gateway.run("reload").returncode == 0
        assert served_certificate(gateway) != before
        assert ask_on(kept, "/")[0] == 200
        kept.close()


def test_a_certificate_that_does_not_fit_refuses_the_whole_reload(tmp_path: Path) -> None:
    with served(tmp_path, {**AWAY, **write_pair(tmp_path)}) as gateway:
        before = served_certificate(gateway)
        certificate = (tmp_path / "tls.crt").read_bytes()
        write_pair(tmp_path)
        (tmp_path / "tls.crt").write_bytes(certificate)
        gateway.write(NOTHING)
        done = gateway.run("reload")
        assert done.returncode == 1
        assert "key values mismatch" in done.stderr
        assert served_certificate(gateway) == before
        connection = gateway.connect(trusting())
        body = ask_on(connection, READ, token_for("alice"))[2]
        connection.close()
        assert json.loads(body)["code"] == ALLOWED


def test_no_request_fails_over_many_reloads(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        stop = threading.Event()
        statuses: set[int] = set()
        errors: list[Exception] = []

        def ask_on_and_on() -> None:
            connection = gateway.connect()
            while not stop.is_set():
                try:
                    statuses.add(ask_on(connection, READ)[0])
                except Exception as error:  # noqa: BLE001 (told by the test)
                    errors.append(error)
                    return
            connection.close()

        threads = [threading.Thread(target=ask_on_and_on) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(2, 8):
            gateway.write({"limit": {"concurrent_per_identity": number}})
            gateway.tell(signal.SIGHUP)
            gateway.await_log(f"generation {number} is in force")
        stop.set()
        for thread in threads:
            thread.join()
    assert errors == []
    assert statuses == {401}


def test_a_running_request_ends_under_the_rules_it_began_with(
    tmp_path: Path, slow_slurm: SlowSlurm
) -> None:
    with served(tmp_path, {"forward": {"upstream": slow_slurm.url}}) as gateway:
        token = token_for("alice")
        asking = Asking(gateway, token)
        assert slow_slurm.asked.wait(60)
        gateway.write(NOTHING)
        gateway.write(AWAY)
        assert gateway.run("reload").returncode == 0
        assert verdict(gateway, token) == REFUSED
        slow_slurm.go.set()
        assert asking.wait()[0] == 200


def test_many_signals_at_once_end_with_the_newest_file(tmp_path: Path) -> None:
    with served(tmp_path, AWAY) as gateway:
        for _ in range(5):
            gateway.tell(signal.SIGHUP)
        gateway.write(NOTHING)
        gateway.tell(signal.SIGHUP)
        token = token_for("alice")
        end = time.monotonic() + 10
        while verdict(gateway, token) != REFUSED:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_reload_says_where_the_running_gateway_reads(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        running, other = gateway.file, tmp_path / "other.toml"
        other.write_text(running.read_text())
        gateway.file = other
        done = gateway.run("reload")
        assert done.returncode == 0
        assert f"that gateway reads {running}, not {other}" in done.stderr


def test_a_gateway_that_is_gone_is_not_reloaded(tmp_path: Path) -> None:
    with served(tmp_path) as gateway:
        gateway.stop(signal.SIGKILL)
        done = gateway.run("reload")
    assert done.returncode == 1
    assert "is stale" in done.stderr
