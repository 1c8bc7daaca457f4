"""The audit of a running gateway: killed, without room, without its file, and verified afterwards."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lab.gateway import audit_sink
from tests.configurations import lines_in, token_for
from tests.forked import run_forked
from tests.serving import ENVIRONMENT, PROGRAM, READ, Asking, Served, SlowSlurm, served

SUBMIT = "/slurm/v0.0.42/job/submit"


@pytest.fixture
def slurm() -> Iterator[SlowSlurm]:
    slow = SlowSlurm()
    yield slow
    slow.close()


@pytest.fixture
def quick(slurm: SlowSlurm) -> SlowSlurm:
    slurm.go.set()
    return slurm


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB for the audit alone."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "audit-test", place], check=True)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def to(slurm: SlowSlurm, path: Path | None = None, **audit: Any) -> dict[str, Any]:
    rates = {"read": "1000000/second", "submit": "1000000/second"}
    settings: dict[str, Any] = {"forward": {"upstream": slurm.url}, "limit": {"rates": rates}}
    if path is not None:
        audit = {"sinks": [audit_sink(path)], **audit}
    return settings | ({"audit": audit} if audit else {})


def submit(gateway: Served) -> tuple[int, dict[str, Any]]:
    connection = gateway.connect()
    try:
        headers = {
            "Authorization": f"Bearer {token_for('alice')}",
            "Content-Type": "application/json",
        }
        connection.request("POST", SUBMIT, b'{"script":"x"}', headers)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if answer.status >= 400 else {}
    finally:
        connection.close()


def statuses_until_refused(gateway: Served) -> list[int]:
    """Of reads, one after the other, until there is no more room for them."""
    token, statuses = token_for("alice"), [0]
    while statuses[-1] != 503:
        statuses.append(gateway.ask(READ, token)[0])
        assert len(statuses) < 3000
    return statuses[1:]


def events(path: Path, *names: str) -> list[dict[str, Any]]:
    return [line for line in lines_in(path) if line["event"] in names]


def verified(gateway: Served, *files: Path, key: Path | None = None) -> str:
    """What `audit verify` says of the files, with the key that the first start has made."""
    key = key or gateway.folder / "state/audit-initial.key"
    done = run_forked(["audit", "verify", "--key-file", str(key), *map(str, files)], ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def is_ready(gateway: Served) -> bool:
    return gateway.operations("/readyz")[0] == 200


# ---- two records


def test_an_admitted_request_has_two_records_and_the_first_is_there_while_it_runs(
    tmp_path: Path, slurm: SlowSlurm
) -> None:
    audit = tmp_path / "audit.jsonl"
    with served(tmp_path, to(slurm)) as gateway:
        asking = Asking(gateway, token_for("alice"))
        assert slurm.asked.wait(60)
        (begin,) = events(audit, "begin")
        assert (begin["user"], begin["operation"]) == ("alice", "GET /slurm/*/diag")
        assert not events(audit, "end")
        slurm.go.set()
        assert asking.wait()[0] == 200
        (end,) = events(audit, "end")
        assert (end["request_id"], end["status"]) == (begin["request_id"], 200)
    assert [line["event"] for line in lines_in(audit)] == ["start", "begin", "end", "stop", "head"]
    verified(gateway, audit)


def test_a_refused_request_has_one_record(tmp_path: Path, quick: SlowSlurm) -> None:
    with served(tmp_path, to(quick)) as gateway:
        assert gateway.ask(READ)[0] == 401
        (denied,) = events(tmp_path / "audit.jsonl", "begin", "end", "denied")
        assert (denied["event"], denied["code"]) == ("denied", "token-missing")


def test_what_a_killed_gateway_left_open_is_closed_by_the_next_start(
    tmp_path: Path, slurm: SlowSlurm
) -> None:
    audit = tmp_path / "audit.jsonl"
    with served(tmp_path, to(slurm)) as gateway:
        asking = Asking(gateway, token_for("alice"))
        assert slurm.asked.wait(60)
        gateway.stop(signal.SIGKILL)
        asking.wait()
        for _ in range(2):  # the second start has nothing to close any more
            gateway.start()
            gateway.stop(signal.SIGKILL)
    (begin,), (lost,) = events(audit, "begin"), events(audit, "lost-end")
    for name in ("request_id", "user", "operation", "target", "subject"):
        assert lost[name] == begin[name]
    assert (lost["begin_seq"], lost["complete"]) == (begin["seq"], False)
    verified(gateway, audit)


class KeptSlurm(SlowSlurm):
    """Keeps its connections, so that reads that repeat take the shortest way."""

    def _answer(self, connection: socket.socket) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: Keep-Alive\r\n"
        with connection, suppress(OSError):
            while connection.recv(65536):
                connection.sendall(head + b"Content-Length: 9\r\n\r\n" + b'{"now":1}')


@pytest.fixture
def kept() -> Iterator[KeptSlurm]:
    slurm = KeptSlurm()
    yield slurm
    slurm.close()


def test_no_acknowledged_request_is_lost_by_killing_the_gateway(
    tmp_path: Path, kept: KeptSlurm
) -> None:
    """Whatever moment it comes at: 8 kills under load, reads and writes, and one chain without a gap."""
    audit, acknowledged = tmp_path / "audit.jsonl", list[str]()
    with served(tmp_path, to(kept, audit, key_lines=50)) as gateway:
        for number in range(8):
            done = threading.Event()
            clients = [
                threading.Thread(target=ask_until, args=(gateway, done, acknowledged, write))
                for write in (False, False, True)
            ]
            for client in clients:
                client.start()
            time.sleep(0.3 + number * 0.037)
            gateway.stop(signal.SIGKILL)
            done.set()
            for client in clients:
                client.join()
            gateway.start()
        gateway.stop()
    ended = {line["request_id"] for line in events(audit, "end")}
    begun = {line["request_id"] for line in events(audit, "begin")}
    assert len(acknowledged) > 100
    assert set(acknowledged) <= ended
    assert begun == ended | {line["request_id"] for line in events(audit, "lost-end")}
    assert len(events(audit, "break")) == 0
    verified(gateway, audit)


def ask_until(gateway: Served, done: threading.Event, seen: list[str], write: bool) -> None:
    """Keep asking, and note the id of each answer that came whole. Reads repeat on one connection."""
    headers = {"Authorization": f"Bearer {token_for('alice')}"}
    connection = gateway.connect()
    while not done.is_set():
        try:
            if write:
                typed = {**headers, "Content-Type": "application/json"}
                connection.request("POST", SUBMIT, b'{"script":"x"}', typed)
            else:
                connection.request("GET", READ, headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                seen.append(answer.headers["X-Request-Id"])
        except (OSError, http.client.HTTPException):
            connection.close()
            connection = gateway.connect()
    connection.close()


# ---- no sink, no forwarding


def test_a_full_disk_refuses_within_a_second_and_recovers_by_itself(
    tmp_path: Path, slurm: SlowSlurm, small_disk: Path
) -> None:
    """A request that began before has its end on the full disk: its room was set apart."""
    audit = small_disk / "audit.jsonl"
    with served(tmp_path, to(slurm, audit)) as gateway:
        asking = Asking(gateway, token_for("alice"))
        assert slurm.asked.wait(60)
        fill(small_disk)
        slurm.go.set()
        assert asking.wait()[0] == 200
        assert len(events(audit, "end")) == 1
        statuses = statuses_until_refused(gateway)
        began = time.monotonic()
        status, problem = submit(gateway)
        assert (status, problem["code"]) == (503, "audit-unavailable")
        assert time.monotonic() - began < 5
        assert not is_ready(gateway)
        (small_disk / "filler").unlink()
        until(lambda: is_ready(gateway))
        assert submit(gateway)[0] == 200
    written = [line["request_id"] for line in events(audit, "end")]
    assert len(written) == 2 + statuses.count(200)
    assert events(audit, "recovered")[-1]["reason"] == "No space left on device"
    assert len(events(audit, "denied")) == 2
    verified(gateway, audit)


def fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                size = size if file.write(b"\0" * size) else 0
            except OSError:
                size //= 2


def remove(audit: Path) -> None:
    audit.unlink()


def replace(audit: Path) -> None:
    audit.with_name("forged").write_text("forged\n")
    audit.with_name("forged").rename(audit)


def truncate(audit: Path) -> None:
    os.truncate(audit, 10)


def copy_over(audit: Path) -> None:
    shutil.copy(audit, audit.with_name("copy"))
    audit.with_name("copy").rename(audit)


@pytest.mark.parametrize("change", [remove, replace, truncate, copy_over])
@pytest.mark.parametrize("ask", [submit, lambda gateway: gateway.ask(READ, token_for("alice"))])
def test_a_file_that_somebody_changed_is_left_for_a_new_one_that_says_so(
    tmp_path: Path,
    quick: SlowSlurm,
    change: Callable[[Path], None],
    ask: Callable[[Served], Any],
) -> None:
    audit = tmp_path / "audit.jsonl"
    with served(tmp_path, to(quick)) as gateway:
        ask(gateway)
        time.sleep(0.15)
        change(audit)
        time.sleep(0.15)
        until(lambda: ask(gateway)[0] == 200)
        first, *others = lines_in(audit)
        assert first["event"] == "break"
        assert "end" in [line["event"] for line in others]
        assert is_ready(gateway)


def test_a_file_system_that_turns_read_only_refuses_and_recovers(
    tmp_path: Path, quick: SlowSlurm
) -> None:
    """chattr +i is what a write meets there: the file cannot be written, nor another one be made."""
    folder = tmp_path / "log"
    folder.mkdir()
    audit = folder / "audit.jsonl"
    with served(tmp_path, to(quick, audit)) as gateway:
        assert submit(gateway)[0] == 200
        subprocess.run(["chattr", "+i", audit, folder], check=True)
        try:
            began = time.monotonic()
            assert submit(gateway)[1]["code"] == "audit-unavailable"
            assert gateway.ask(READ, token_for("alice"))[0] == 503
            assert time.monotonic() - began < 5
        finally:
            subprocess.run(["chattr", "-i", audit, folder], check=True)
        until(lambda: is_ready(gateway))
        assert submit(gateway)[0] == 200
    verified(gateway, audit)


# ---- standard output


def test_a_reader_of_standard_output_that_stops_refuses_and_recovers(
    tmp_path: Path, quick: SlowSlurm
) -> None:
    gateway = Served(tmp_path, to(quick, sinks=[{"type": "stdout"}]))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    command = [str(PROGRAM), "serve", "--config", str(gateway.file)]
    with gateway.log_file.open("wb") as log:
        gateway.process = subprocess.Popen(command, stdout=writer, stderr=log, env=ENVIRONMENT)
    os.close(writer)
    try:
        until(gateway.answers, 120)
        assert len(statuses_until_refused(gateway)) > 10
        began = time.monotonic()
        assert gateway.ask(READ, token_for("alice"))[0] == 503
        assert time.monotonic() - began < 5
        while not is_ready(gateway):
            drain(reader)
            time.sleep(0.02)
        assert gateway.ask(READ, token_for("alice"))[0] == 200
    finally:
        gateway.stop()
        os.close(reader)


def drain(reader: int) -> None:
    try:
        while os.read(reader, 1 << 16):
            pass
    except BlockingIOError:
        return


# ---- the chain


def test_starts_stops_and_reloads_are_records_with_what_changed(
    tmp_path: Path, quick: SlowSlurm
) -> None:
    audit = tmp_path / "audit.jsonl"
    with served(tmp_path, to(quick)) as gateway:
        gateway.write({"limit": {"concurrent_per_identity": 3}})
        assert gateway.run("reload").returncode == 0
        gateway.write({"server": {"cluster": "other"}})
        gateway.tell(signal.SIGHUP)
        until(lambda: len(events(audit, "reload")) == 2)
    start, changed, refused, stop = events(audit, "start", "reload", "stop")
    assert start["settings"].keys() > {"server.listen", "audit.sinks"}
    assert list(changed["changed"]) == ["limit.concurrent_per_identity"]
    before, after = changed["changed"]["limit.concurrent_per_identity"]
    assert (before, before != after) == (start["settings"]["limit.concurrent_per_identity"], True)
    assert (refused["accepted"], refused["problems"]) == (False, ["server.cluster"])
    assert stop["seq"] > refused["seq"]


def test_a_reload_that_moves_the_audit_goes_on_with_the_chain(
    tmp_path: Path, quick: SlowSlurm
) -> None:
    audit, other = tmp_path / "audit.jsonl", tmp_path / "other.jsonl"
    with served(tmp_path, to(quick)) as gateway:
        gateway.write(to(quick, other))
        assert gateway.run("reload").returncode == 0
        assert submit(gateway)[0] == 200
    assert [line["event"] for line in lines_in(other)][:3] == ["reload", "begin", "end"]
    assert lines_in(other)[0]["seq"] == lines_in(audit)[-1]["seq"] + 1
    verified(gateway, audit, other)


def test_the_initial_key_is_warned_about_until_it_is_carried_away(
    tmp_path: Path, quick: SlowSlurm
) -> None:
    initial = tmp_path / "state/audit-initial.key"
    with served(tmp_path, to(quick)) as gateway:
        assert "carry it away" in gateway.log
        gateway.stop()
        kept = initial.rename(tmp_path / "kept.key")
        gateway.start()
        assert "carry it away" not in gateway.log
    verified(gateway, tmp_path / "audit.jsonl", key=kept)


def test_audit_init_begins_a_new_chain_and_hands_over_its_key(
    tmp_path: Path, quick: SlowSlurm
) -> None:
    audit, key = tmp_path / "audit.jsonl", tmp_path / "officer.key"
    with served(tmp_path, to(quick)) as gateway:
        refused = gateway.run("audit", "init", "--key-file", str(key))
        assert (refused.returncode, "stop it first" in refused.stderr) == (1, True)
        gateway.stop()
        done = gateway.run("audit", "init", "--key-file", str(key))
        assert done.returncode == 0, done.stderr
        assert key.stat().st_mode & 0o777 == 0o600
        gateway.start()
        assert "carry it away" not in gateway.log
        assert submit(gateway)[0] == 200
    first = lines_in(audit)[0]
    assert (first["seq"], first["event"]) == (1, "break")
    assert first["chain"] == json.loads(key.read_text())["chain"]
    verified(gateway, audit, key=key)


@pytest.mark.parametrize("what", ["an edited last line", "missing lines", "no file"])
def test_what_was_done_to_the_file_while_the_gateway_was_down_is_told(
    tmp_path: Path, quick: SlowSlurm, what: str
) -> None:
    audit = tmp_path / "audit.jsonl"
    with served(tmp_path, to(quick)) as gateway:
        submit(gateway)
        gateway.stop()
        lines = audit.read_bytes().splitlines(keepends=True)
        if what == "no file":
            audit.unlink()
        elif what == "missing lines":
            audit.write_bytes(b"".join(lines[:-2]))
        else:
            audit.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b'"oldest"', b'"newest"')]))
        gateway.start()
        assert submit(gateway)[0] == 200
        broken = lines_in(audit)[0]
        assert (broken["event"], broken["seq"]) == ("break", len(lines) + 1)


def test_a_torn_last_line_is_cut_off_and_told(tmp_path: Path, quick: SlowSlurm) -> None:
    audit = tmp_path / "audit.jsonl"
    with served(tmp_path, to(quick)) as gateway:
        gateway.stop(signal.SIGKILL)
        with audit.open("ab") as file:
            file.write(b'{"seq":2,"chain":"')
        gateway.start()
    assert [line["event"] for line in lines_in(audit)] == ["start", "start", "stop", "head"]
    assert lines_in(audit)[1]["torn_bytes"] == 18
    verified(gateway, audit)


def test_a_head_stands_in_the_metrics(tmp_path: Path, quick: SlowSlurm) -> None:
    audit = tmp_path / "audit.jsonl"
    with served(tmp_path, to(quick, audit, head_seconds=0.5)) as gateway:
        submit(gateway)
        until(lambda: b"slurm_gateway_audit_head{" in gateway.operations("/metrics")[1])
        head = events(audit, "head")[0]
        metrics = gateway.operations("/metrics")[1].decode()
        assert f'chain="{head["chain"]}",mac="{head["mac"]}"}} {float(head["seq"])}' in metrics


# ---- rotation


def all_files(folder: Path) -> list[Path]:
    return [*sorted(folder.glob("audit-*.jsonl*")), folder / "audit.jsonl"]


def test_files_are_rotated_and_compressed_under_load_and_verify_as_one_chain(
    tmp_path: Path, quick: SlowSlurm
) -> None:
    audit = tmp_path / "audit.jsonl"
    sink = audit_sink(audit) | {"rotate_bytes": 20_000}
    with served(tmp_path, to(quick, sinks=[sink], key_lines=20)) as gateway:

        def packed_after_one_more() -> bool:
            gateway.ask(READ, token_for("alice"))
            return len(list(tmp_path.glob("audit-*.jsonl.gz"))) >= 3

        until(packed_after_one_more)
    assert lines_in(audit)[0]["event"] == "rotate"
    assert lines_in(audit)[0]["previous"] == all_files(tmp_path)[-2].name.removesuffix(".gz")
    assert "✓" in verified(gateway, *all_files(tmp_path))


def test_the_oldest_files_go_and_the_audit_says_so(tmp_path: Path, quick: SlowSlurm) -> None:
    audit = tmp_path / "audit.jsonl"
    sink = audit_sink(audit) | {"rotate_bytes": 5_000, "keep_bytes": 2_000}
    with served(tmp_path, to(quick, sinks=[sink])) as gateway:
        found: list[dict[str, Any]] = []

        def is_removed() -> bool:
            gateway.ask(READ, token_for("alice"))
            found.extend(events(audit, "removed"))
            return bool(found)

        until(is_removed)  # asking once more might remove the file that says so
    assert (found[0]["cause"], found[0]["file"][:6]) == ("keep_bytes", "audit-")


@pytest.mark.parametrize("is_renamed", [True, False])
def test_a_rotation_from_outside_is_announced_with_a_signal(
    tmp_path: Path, quick: SlowSlurm, is_renamed: bool
) -> None:
    audit = tmp_path / "audit.jsonl"
    with served(tmp_path, to(quick)) as gateway:
        submit(gateway)
        inode = audit.stat().st_ino
        if is_renamed:
            audit.rename(tmp_path / "audit.jsonl.1")
        gateway.tell(signal.SIGUSR1)
        until(lambda: audit.exists() and audit.stat().st_ino != inode)
        assert submit(gateway)[0] == 200
        first = lines_in(audit)[0]
        assert (first["event"], first["cause"]) == ("rotate", "signal")
    old = [tmp_path / "audit.jsonl.1"] if is_renamed else all_files(tmp_path)[:-1]
    verified(gateway, *old, audit)


def test_a_disk_that_gets_full_is_warned_about(
    tmp_path: Path, quick: SlowSlurm, small_disk: Path
) -> None:
    with served(tmp_path, to(quick, small_disk / "audit.jsonl")) as gateway:
        fill(small_disk)
        parts = json.loads(gateway.operations("/readyz")[1])["parts"]
        assert parts["audit"]["detail"]["warnings"] == [f"{small_disk} has 0 % free"]
        assert parts["audit"]["ok"]
