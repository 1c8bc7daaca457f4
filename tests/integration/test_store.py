"""Several gateways with one real Valkey or Redis: limits they keep together, and what holds while it is killed."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lab import certificates
from lab.places import write_private
from lab.store import StoreServer
from lab.toml_text import Settings, merged
from tests.configurations import token_for
from tests.serving import READ, Served, ask_on, served
from tests.store_world import require_program, running_store, settings_of

AWAY: Settings = {"forward": {"upstream": "http://127.0.0.1:9"}}
"""No slurmrestd: whoever is admitted gets 502."""
ADMITTED, REFUSED = "upstream-unreachable", "rate-exceeded"
MISSED = 'slurm_gateway_store_missed_total{use="limits"}'
LIMIT = 400
PROCESSES = 4
SECONDS = 60.0


@pytest.fixture
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreServer]:
    """A test's own, to disturb."""
    with running_store(tmp_path_factory.mktemp("store")) as server:
        yield server


def limited(server: StoreServer, rate: str, **more: object) -> Settings:
    limits = {"limit": {"rates": {"read": rate, "read-heavy": rate}}}
    return merged(merged(AWAY, limits), settings_of(server, **more))


def running(stack: ExitStack, folder: Path, number: int, settings: Settings) -> list[Served]:
    folders = [folder / f"g{index}" for index in range(number)]
    for one in folders:
        one.mkdir()
    return [stack.enter_context(served(one, settings)) for one in folders]


def ask_often(gateway: Served, token: str, times: int) -> Counter[str]:
    connection, codes = gateway.connect(), Counter[str]()
    for _ in range(times):
        codes[json.loads(ask_on(connection, READ, token)[2])["code"]] += 1
    connection.close()
    return codes


def total(counts: Sequence[Counter[str]]) -> Counter[str]:
    return sum(counts, Counter[str]())


def await_true(what: Callable[[], Any], says: str) -> None:
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end, says
        time.sleep(0.02)


def store_lines(gateway: Served) -> list[dict[str, Any]]:
    return [line for line in gateway.lines if line["event"] == "store"]


def part(gateway: Served) -> dict[str, Any]:
    body = json.loads(gateway.operations("/readyz")[1])
    found: dict[str, Any] = body["parts"]["store"]
    return found


def is_there(gateway: Served) -> bool:
    return part(gateway)["ok"] is True


def is_away(gateway: Served) -> bool:
    return not is_there(gateway)


def has_told(times: int, gateway: Served) -> bool:
    return len(store_lines(gateway)) == times


def missed_by(gateway: Served) -> float:
    """How many requests found no store to count them; there is no such line before the first."""
    lines = gateway.operations("/metrics")[1].decode().splitlines()
    mine = [line for line in lines if line.startswith(MISSED)]
    return float(mine[0].split()[1]) if mine else 0.0


def misses_more(gateway: Served, than: float) -> bool:
    return missed_by(gateway) > than


def has_grown(codes: Counter[str], beyond: int) -> bool:
    return codes[ADMITTED] > beyond


def await_all(gateways: Sequence[Served], what: Callable[[Served], bool]) -> None:
    for gateway in gateways:
        await_true(partial(what, gateway), f"never: {what}")


def test_four_processes_admit_the_limit_together_within_one_percent(
    tmp_path: Path, store: StoreServer
) -> None:
    with ExitStack() as stack, ThreadPoolExecutor(2 * PROCESSES) as threads:
        gateways = running(stack, tmp_path, PROCESSES, limited(store, f"{LIMIT}/hour"))
        token = token_for("alice")
        jobs = [
            threads.submit(ask_often, gateway, token, LIMIT // PROCESSES)
            for gateway in gateways
            for _ in range(2)
        ]
        codes = total([job.result() for job in jobs])
        assert codes.total() == 2 * LIMIT
        assert abs(codes[ADMITTED] - LIMIT) <= LIMIT / 100, codes
        assert codes[REFUSED] == codes.total() - codes[ADMITTED]
        other = ask_often(gateways[0], token_for("bob"), 1)
        assert other[ADMITTED] == 1, "another identity has a limit of its own"


def test_a_store_that_is_killed_and_comes_back_under_load_costs_no_request(
    tmp_path: Path, store: StoreServer
) -> None:
    """While it is away each process has its share; the audit, /metrics and /readyz tell; it heals by itself."""
    with ExitStack() as stack:
        settings = limited(store, "1000000/second", machines=2)
        gateways = running(stack, tmp_path, 2, settings)
        stopping, codes = threading.Event(), Counter[str]()

        def load(gateway: Served) -> None:
            while not stopping.is_set():
                codes.update(ask_often(gateway, token_for("alice"), 20))

        threads = [threading.Thread(target=load, args=(one,)) for one in gateways for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for round_number in (1, 2):
                await_all(gateways, is_there)
                store.kill()
                await_all(gateways, is_away)
                before, missed = codes[ADMITTED], [missed_by(one) for one in gateways]
                await_true(partial(has_grown, codes, before + 100), "no load while away")
                for gateway, so_far in zip(gateways, missed, strict=True):
                    await_true(
                        partial(misses_more, gateway, so_far), "what was counted before lasts"
                    )
                store.start()
                await_all(gateways, is_there)
                await_all(gateways, partial(has_told, 2 * round_number))
        finally:
            stopping.set()
            for thread in threads:
                thread.join(SECONDS)
        assert set(codes) == {ADMITTED}
        for gateway in gateways:
            told = [line["available"] for line in store_lines(gateway)]
            assert told == [False, True, False, True]
            assert "slurm_gateway_store_available 1.0" in gateway.operations("/metrics")[1].decode()


def test_a_store_that_is_away_at_the_start_is_told_and_its_share_holds(
    tmp_path: Path, store: StoreServer
) -> None:
    store.kill()
    settings = limited(store, "40/hour", machines=4)
    with served(tmp_path, settings) as gateway:
        codes = ask_often(gateway, token_for("alice"), 30)
        assert codes == {ADMITTED: 10, REFUSED: 20}
        await_true(lambda: not part(gateway)["ok"], "not told")
        assert gateway.operations("/readyz")[0] == 200, "no reason to send clients elsewhere"
        store.start()
        await_true(lambda: part(gateway)["ok"], "never there")
        assert ask_often(gateway, token_for("alice"), 50) == {ADMITTED: 40, REFUSED: 10}


def test_a_gateway_that_shall_refuse_meanwhile_does_and_heals(
    tmp_path: Path, store: StoreServer
) -> None:
    settings = limited(store, "1000/second", limits_when_away="refuse")
    with served(tmp_path, settings) as gateway:
        token = token_for("alice")
        assert ask_often(gateway, token, 1) == {ADMITTED: 1}
        store.kill()
        status, headers, body = gateway.ask(READ, token)
        assert (status, json.loads(body)["code"]) == (503, "limits-unavailable")
        assert headers["retry-after"]
        store.start()
        await_true(lambda: part(gateway)["ok"], "never back")
        assert ask_often(gateway, token, 1) == {ADMITTED: 1}


def test_who_fails_at_one_gateway_is_not_heard_by_the_other(
    tmp_path: Path, store: StoreServer
) -> None:
    """Behind a proxy of theirs, because loopback itself is never shut out."""
    throttled: Settings = {
        "server": {"trusted_proxies": ["127.0.0.1"]},
        "limit": {"failed_authentications_per_subject": "5/hour"},
    }
    settings = merged(limited(store, "1000/second"), throttled)
    with ExitStack() as stack:
        one, other = running(stack, tmp_path, 2, settings)
        forged = token_for("alice")[:-8] + "AAAAAAAA"
        source = {"X_Forwarded_For": "203.0.113.9"}
        for _ in range(5):
            assert one.ask(READ, forged, **source)[0] == 401
        status, _, body = other.ask(READ, forged, **source)
        assert (status, json.loads(body)["code"]) == (429, "authentication-throttled")
        assert other.ask(READ, forged, X_Forwarded_For="203.0.113.10")[0] == 401


def test_over_tls_the_servers_name_and_issuer_are_checked(tmp_path: Path) -> None:
    require_program()
    made, strange = (certificates.ensure(_made(tmp_path / name)) for name in ("made", "strange"))
    server = StoreServer(_made(tmp_path / "s"), (made.authority, made.certificate, made.key))
    server.start()
    try:
        sections = {"address": server.address}
        good = limited(server, "5/hour", **sections, ca_file=str(made.authority))
        with served(_made(tmp_path / "good"), good) as gateway:
            assert ask_often(gateway, token_for("alice"), 6) == {ADMITTED: 5, REFUSED: 1}
            assert part(gateway)["ok"]
        bad = limited(server, "5/hour", **sections, ca_file=str(strange.authority))
        with served(_made(tmp_path / "bad"), bad) as gateway:
            await_true(lambda: not part(gateway)["ok"], "a stranger was believed")
            assert "certificate" in part(gateway)["detail"]["problem"].lower()
    finally:
        server.stop()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_wrong_password_is_told_and_never_shown(tmp_path: Path, store: StoreServer) -> None:
    wrong = tmp_path / "wrong.password"
    write_private(wrong, b"canary-of-a-password\n")
    settings = limited(store, "5/hour", password_file=str(wrong))
    with served(tmp_path, settings) as gateway:
        await_true(lambda: not part(gateway)["ok"], "it was let in")
        shown = json.dumps(part(gateway)) + gateway.log + json.dumps(gateway.lines)
        assert "canary-of-a-password" not in shown
