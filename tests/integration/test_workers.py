"""`server.workers` above 1: real processes that share sockets, limits and orders, and survive each other."""

import json
import os
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab.processes import descendants_of
from lab.store import StoreServer
from lab.toml_text import Settings, merged
from tests.configurations import lines_in, token_for
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
)
from tests.store_world import running_store, settings_of

SECONDS = 60.0
ADMITTED, REFUSED = "upstream-unreachable", "rate-exceeded"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    with running_store(tmp_path_factory.mktemp("store")) as server:
        yield server


def workers(store: StoreServer, number: int, changes: Settings | None = None) -> Settings:
    """Each test's gateway is a cluster of its own in the store, which would else hold what others counted."""
    base = {
        "server": {"workers": number, "cluster": f"c{time.monotonic_ns()}"},
        "forward": {"upstream": "http://127.0.0.1:9"},
        "limit": {"rates": {"read": "100000/second", "read-heavy": "100000/second"}},
    }
    return merged(merged(base, settings_of(store)), changes or {})


def await_true(what: Callable[[], Any], says: str) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end, says
        time.sleep(0.02)


def ready(gateway: Served) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(gateway.operations("/readyz")[1])
    return body


def is_ready(gateway: Served) -> bool:
    return ready(gateway)["ready"] is True


def audits(gateway: Served) -> dict[str, list[dict[str, Any]]]:
    return {file.name: lines_in(file) for file in sorted(gateway.folder.glob("audit.*.jsonl"))}


def ask_often(gateway: Served, token: str, times: int) -> Counter[str]:
    """Each on a connection of its own, so that every worker gets some."""
    return Counter(json.loads(gateway.ask(READ, token)[2])["code"] for _ in range(times))


def series(gateway: Served, name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for line in gateway.operations("/metrics")[1].decode().splitlines():
        if line.startswith(name):
            labels, value = line.rsplit(" ", 1)
            worker = labels.partition('worker="')[2].partition('"')[0]
            found[worker] = found.get(worker, 0.0) + float(value)
    return found


def has_file(folder: Path, pattern: str) -> bool:
    return bool(list(folder.glob(pattern)))


def test_four_workers_admit_the_limit_together_within_one_percent(
    tmp_path: Path, store: StoreServer
) -> None:
    limit = {"limit": {"rates": {"read": "400/hour", "read-heavy": "400/hour"}}}
    with served(tmp_path, workers(store, 4, limit)) as gateway, ThreadPoolExecutor(8) as threads:
        await_true(lambda: is_ready(gateway), "never ready")
        token = token_for("alice")
        jobs = [threads.submit(ask_often, gateway, token, 75) for _ in range(8)]
        codes = sum((job.result() for job in jobs), Counter[str]())
        assert abs(codes[ADMITTED] - 400) <= 4, codes
        assert codes == {ADMITTED: codes[ADMITTED], REFUSED: 600 - codes[ADMITTED]}
        requests = "slurm_gateway_requests_total"
        await_true(lambda: sum(series(gateway, requests).values()) == 600, "not all counted")
        assert len(series(gateway, requests)) == 4, "all of them served"
        assert len(descendants_of(gateway.pid)) == 4


def test_each_worker_has_an_audit_and_a_state_of_its_own_and_all_are_verified_together(
    tmp_path: Path, store: StoreServer
) -> None:
    with served(tmp_path, workers(store, 3)) as gateway:
        ask_often(gateway, token_for("alice"), 40)
        assert gateway.stop() == 0
        files = audits(gateway)
        assert list(files) == ["audit.1.jsonl", "audit.2.jsonl", "audit.3.jsonl"]
        assert len({lines[0]["chain"] for lines in files.values()}) == 3
        ends = [one for lines in files.values() for one in lines if one["event"] == "end"]
        assert len(ends) == 40
        state = Path(gateway.settings["server"]["state_directory"])
        for number in (1, 2, 3):
            folder = state / f"worker-{number}"
            assert folder.stat().st_mode & 0o777 == 0o700
            assert (folder / "audit-chain.key").exists()
        keys = [
            part
            for number in (1, 2, 3)
            for part in ("--key-file", str(state / f"worker-{number}/audit-initial.key"))
        ]
        names = [str(tmp_path / name) for name in files]
        verified = run_audit("verify", *keys, "--from-start", *names)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        found = run_audit("search", "--user", "alice", "--json", *names)
        assert len(found.stdout.splitlines()) == 40
        (tmp_path / "audit.2.jsonl").write_text(
            "".join((tmp_path / "audit.2.jsonl").read_text().splitlines(keepends=True)[1:])
        )
        assert run_audit("verify", *keys, "--from-start", *names).returncode == 1


def run_audit(command: str, *arguments: str) -> Any:
    return subprocess.run(
        [str(PROGRAM), "audit", command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=60,
    )


def test_a_worker_that_is_killed_is_started_again_and_costs_nobody_else_anything(
    tmp_path: Path, store: StoreServer
) -> None:
    with served(tmp_path, workers(store, 2)) as gateway:
        await_true(lambda: is_ready(gateway), "never ready")
        before = set(descendants_of(gateway.pid))
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        await_true(lambda: len(set(descendants_of(gateway.pid)) - before) == 1, "not started again")
        await_true(lambda: is_ready(gateway), "not ready again")
        assert ask_often(gateway, token_for("alice"), 20) == {ADMITTED: 20}
        assert len(descendants_of(gateway.pid)) == 2
        assert set(descendants_of(gateway.pid)) & before, "the other one was left alone"
        assert "has ended (-9)" in gateway.log


def test_a_connection_that_comes_while_its_worker_is_dead_waits_for_the_next(
    tmp_path: Path, store: StoreServer
) -> None:
    """No reset and no refusal: the supervisor holds the sockets."""
    with served(tmp_path, workers(store, 2)) as gateway, ThreadPoolExecutor(16) as threads:
        await_true(lambda: is_ready(gateway), "never ready")
        token = token_for("alice")
        for victim in descendants_of(gateway.pid):
            os.kill(victim, signal.SIGKILL)
        jobs = [threads.submit(ask_often, gateway, token, 1) for _ in range(16)]
        assert [job.result() for job in jobs] == [Counter({ADMITTED: 1})] * 16


def test_one_reload_reaches_all_workers_or_tells_who_refused(
    tmp_path: Path, store: StoreServer
) -> None:
    with served(tmp_path, workers(store, 3)) as gateway:
        token = token_for("alice")
        gateway.write({"authorize": {"roles": {"user": {"allow": []}}}})
        done = gateway.run("reload")
        assert (done.returncode, done.stdout.split(" is")[0]) == (0, "Generation 2"), done.stderr
        assert ask_often(gateway, token, 30) == {"operation-unlisted": 30}
        assert set(series(gateway, "slurm_gateway_generation").values()) == {2.0}
        gateway.write({"server": {"workers": 2}})
        done = gateway.run("reload")
        assert done.returncode == 1
        assert done.stderr.count("server.workers") == 1
        assert set(series(gateway, "slurm_gateway_generation").values()) == {2.0}
        os.kill(descendants_of(gateway.pid)[0], signal.SIGKILL)
        await_true(lambda: is_ready(gateway), "never back")
        assert ask_often(gateway, token, 30) == {"operation-unlisted": 30}, "the reloaded one"


def test_sigusr1_begins_a_new_audit_file_in_every_worker(
    tmp_path: Path, store: StoreServer
) -> None:
    with served(tmp_path, workers(store, 2)) as gateway:
        ask_often(gateway, token_for("alice"), 20)
        gateway.tell(signal.SIGUSR1)
        for number in (1, 2):
            pattern = f"audit.{number}-*.jsonl*"
            await_true(partial(has_file, tmp_path, pattern), f"no {pattern}")


def test_sigterm_lets_running_requests_end_in_every_worker(
    tmp_path: Path, store: StoreServer
) -> None:
    slow = SlowSlurm()
    try:
        settings = workers(store, 2, {"forward": {"upstream": slow.url}})
        with served(tmp_path, settings) as gateway:
            asking = [Asking(gateway, token_for("alice")) for _ in range(6)]
            assert slow.asked.wait(SECONDS)
            busy = "slurm_gateway_pool_in_use"
            await_true(lambda: sum(series(gateway, busy).values()) == 6, "not all arrived")
            for pid in (gateway.pid, *descendants_of(gateway.pid)):
                os.kill(pid, signal.SIGTERM)  # as a service manager does: every process
            slow.go.set()
            assert [one.wait()[0] for one in asking] == [200] * 6
            assert gateway.stop() == 0
    finally:
        slow.close()


def test_workers_end_where_their_supervisor_is_killed(tmp_path: Path, store: StoreServer) -> None:
    with served(tmp_path, workers(store, 2)) as gateway:
        await_true(lambda: is_ready(gateway), "never ready")
        pids = descendants_of(gateway.pid)
        assert gateway.process is not None
        gateway.process.kill()
        gateway.process.wait()
        await_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "they go on")
        gateway.start()
        assert ask_often(gateway, token_for("alice"), 4) == {ADMITTED: 4}


def test_on_a_unix_socket_all_workers_serve_and_its_file_goes_with_the_last(
    tmp_path_factory: pytest.TempPathFactory, store: StoreServer
) -> None:
    folder = tmp_path_factory.mktemp("u")
    path = folder / "g.sock"
    settings = workers(store, 2, {"server": {"listen": f"unix:{path}"}})
    with served(folder, settings) as gateway:
        await_true(lambda: is_ready(gateway), "never ready")
        token = token_for("alice")

        def ask() -> int:
            connection = UnixConnection(path)
            status = ask_on(connection, READ, token)[0]
            connection.close()
            return status

        assert [ask() for _ in range(20)] == [502] * 20
        os.kill(descendants_of(gateway.pid)[0], signal.SIGKILL)
        assert [ask() for _ in range(20)] == [502] * 20
        assert path.exists()
        gateway.stop()
        assert not path.exists()


def test_connections_to_slurmrestd_are_shared_out(tmp_path: Path, store: StoreServer) -> None:
    """Never more than forward.connections of all workers together, whoever asks."""
    slow = SlowSlurm()
    try:
        forward = {"upstream": slow.url, "connections": 5}
        limits = {"limit": {"concurrent_per_identity": 100}}
        settings = workers(store, 2, {"forward": forward, **limits})
        with served(tmp_path, settings) as gateway:
            asking = [Asking(gateway, token_for(f"user{n}")) for n in range(24)]
            busy, queued = "slurm_gateway_pool_in_use", "slurm_gateway_queue_length"
            await_true(
                lambda: (
                    sum(series(gateway, busy).values()) + sum(series(gateway, queued).values())
                    == 24
                ),
                "not all arrived",
            )
            assert sum(series(gateway, busy).values()) <= 5
            assert all(count <= 3 for count in series(gateway, busy).values())
            slow.go.set()
            assert [one.wait()[0] for one in asking] == [200] * 24
    finally:
        slow.close()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"store": None}, "server.workers"),
        ({"server": {"workers": 5}, "forward": {"connections": 4}}, "for 5 workers"),
        ({"audit": {"sinks": [{"type": "stdout"}]}}, "audit.sinks"),
    ],
)
def test_what_workers_cannot_do_without_is_refused_at_the_start_with_the_remedy(
    tmp_path: Path, store: StoreServer, changes: Settings, says: str
) -> None:
    gateway = Served(tmp_path, workers(store, 2, changes))
    done = gateway.run("serve")
    assert done.returncode == 1
    assert says in done.stderr


def test_what_is_wrong_at_the_first_start_stops_all_of_it(
    tmp_path: Path, store: StoreServer
) -> None:
    key = tmp_path / "empty.key"
    key.touch(mode=0o600)
    gateway = Served(tmp_path, workers(store, 2, {"credential": {"key_file": str(key)}}))
    done = gateway.run("serve")
    assert done.returncode == 1
    assert "empty.key" in done.stderr
    assert not list(tmp_path.glob("state/gateway.pid"))


def test_a_port_that_somebody_listens_on_is_not_shared(tmp_path: Path, store: StoreServer) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        port = other.getsockname()[1]
        listen = {"server": {"listen": f"127.0.0.1:{port}"}}
        done = Served(tmp_path, workers(store, 2, listen)).run("serve")
    assert done.returncode == 1
    assert "cannot listen" in done.stderr


def test_audit_init_begins_a_chain_for_each_worker_and_hands_over_every_key(
    tmp_path: Path, store: StoreServer
) -> None:
    gateway = Served(tmp_path, workers(store, 2))
    done = gateway.run("audit", "init", "--key-file", str(tmp_path / "officer.key"))
    assert done.returncode == 0, done.stderr
    keys = [tmp_path / f"officer.key.{number}" for number in (1, 2)]
    chains = [json.loads(key.read_text())["chain"] for key in keys]
    assert len(set(chains)) == 2
    gateway.start()
    gateway.stop()
    assert [lines[0]["chain"] for lines in audits(gateway).values()] == chains
    options = [part for key in keys for part in ("--key-file", str(key))]
    names = [str(tmp_path / name) for name in audits(gateway)]
    assert run_audit("verify", *options, "--from-start", *names).returncode == 0


def test_check_asks_the_store(tmp_path: Path, store: StoreServer) -> None:
    gateway = Served(tmp_path, workers(store, 2))
    assert "answers and can be written to" in gateway.run("check").stdout
    gateway.write({"store": {"address": f"unix:{tmp_path}/nobody.sock"}})
    done = gateway.run("check")
    assert done.returncode == 1
    assert "nobody.sock" in done.stdout + done.stderr
