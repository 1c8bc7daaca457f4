"""How one generation of the configuration follows another."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.app_policy import BuildError
from gateway.app_running import fixed_settings
from gateway.app_shelf import Shelf
from gateway.edges.idempotent_upstream import IdempotentUpstream
from tests.configurations import ISSUER, configuration, token_for, usable
from tests.running import (
    bearer,
    built,
    client_of,
    gateway_of,
    parts_of,
    running,
)
from tests.scripted_upstream import ScriptedUpstream, answer, answering
from tests.upstream_kit import settled


async def test_a_reload_without_changes_keeps_what_holds_connections_and_counts(
    tmp_path: Path,
) -> None:
    (plain,) = usable(tmp_path)["authenticate"]["issuers"]
    remote = {**plain, "issuer": "http://127.0.0.1:9", "jwks_file": None}
    issuers = [plain, {name: value for name, value in remote.items() if value is not None}]
    config = gateway_of(tmp_path, {"authenticate": {"issuers": issuers}})
    async with running(config) as application:
        before = application.current
        application.adopt(await application.prepare(config))
        after = application.current
        assert after.number == before.number + 1
        for name in ("upstream", "slots", "trail"):
            assert getattr(after, name) is getattr(before, name)
        keys_before, keys_after = before.identification.keys, after.identification.keys
        assert keys_after["http://127.0.0.1:9"] is keys_before["http://127.0.0.1:9"]
        assert keys_after[ISSUER] is not keys_before[ISSUER], "files are read anew"
        assert after.identification.authenticate is not before.identification.authenticate


async def test_whatever_is_sent_in_a_turn_goes_behind_the_lines_of_it(tmp_path: Path) -> None:
    """Heads to slurmrestd and answers wait in one queue, which has the journal write first."""
    changes: dict[str, Any] = {"forward": {"read_seconds": 3}, "audit": {"listed_query_values": []}}
    async with running(gateway_of(tmp_path)) as application:
        for config in (gateway_of(tmp_path, changes), gateway_of(tmp_path)):
            late = application.protocol().terms.late_writes  # type: ignore[attr-defined]  # ours
            now = application.current
            assert now.upstream.pool._late_writes is late
            assert late.first == now.recording.journal.flush
            assert now.recording.journal.turn_lines.goes_first
            application.adopt(await application.prepare(config))


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"forward": {"read_seconds": 3}}, {"upstream"}),
        ({"forward": {"upstream": "http://127.0.0.1:2"}}, {"upstream", "slots"}),
        ({"audit": {"listed_query_values": []}}, {"trail"}),
        ({"limit": {"concurrent_per_identity": 3}}, set()),
    ],
)
async def test_a_reload_renews_what_a_change_touches(
    changes: dict[str, Any], parts: set[str], tmp_path: Path
) -> None:
    async with running(gateway_of(tmp_path)) as application:
        before = application.current
        application.adopt(await application.prepare(gateway_of(tmp_path, changes)))
        renewed = {
            name
            for name in ("upstream", "slots", "trail")
            if getattr(application.current, name) is not getattr(before, name)
        }
    assert renewed == parts


async def test_rates_are_counted_on_over_a_reload(tmp_path: Path) -> None:
    """Or whoever can make an admin reload gets fresh rates."""
    config = gateway_of(tmp_path, {"limit": {"failed_authentications": "1/minute"}})
    async with running(config) as application:
        client = client_of(application)
        assert (await client.get("/slurm", headers=bearer("a.b.c"))).status_code == 401
        application.adopt(await application.prepare(config))
        assert (await client.get("/slurm", headers=bearer("a.b.c"))).status_code == 429


async def test_a_refused_reload_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with running(gateway_of(tmp_path)) as application:
        before = application.current
        bad = {"map_user": {"rules": [{"issuer": ISSUER, "table_file": "/nonexistent"}]}}
        with pytest.raises(BuildError, match="nonexistent"):
            await application.prepare(gateway_of(tmp_path, bad))
        assert application.current is before
        assert (await client_of(application).get("/")).status_code == 200
        assert (await parts_of(application))["ready"]


async def test_a_request_ends_in_the_generation_it_began_in(tmp_path: Path) -> None:
    """The old connections are closed only after it; its answer comes whole."""
    released = asyncio.Event()

    async def slow(wire: Any) -> None:
        while await wire.request() is not None:
            await released.wait()
            await wire.send(answer(b'{"old":true}'))

    async with ScriptedUpstream(slow) as upstream:
        config = gateway_of(tmp_path, {"forward": {"upstream": upstream.url}})
        async with running(config) as application:
            old = application.current
            client = client_of(application)
            path, headers = "/slurm/v0.0.42/diag", bearer(token_for("alice"))
            asking = asyncio.create_task(client.get(path, headers=headers))
            await settled(lambda: old.running and old.upstream.pool.opened)
            changed = {"forward": {"upstream": upstream.url, "read_seconds": 9}}
            application.adopt(await application.prepare(gateway_of(tmp_path, changed)))
            assert application.current.upstream is not old.upstream
            assert application._retiring is not None
            await asyncio.sleep(0.02)
            assert not application._retiring.done()
            released.set()
            assert (await asking).json() == {"old": True}
            await settled(application._retiring.done)
            assert old.upstream.pool.opened == 0


async def test_unused_connections_of_a_replaced_client_are_closed_at_once(tmp_path: Path) -> None:
    """Old and new together must stay below the number that slurmrestd hangs at."""
    async with ScriptedUpstream(answering(lambda _: answer(b"{}"))) as upstream:
        config = gateway_of(tmp_path, {"forward": {"upstream": upstream.url}})
        async with running(config) as application:
            old = application.current
            path, headers = "/slurm/v0.0.42/diag", bearer(token_for("alice"))
            await client_of(application).get(path, headers=headers)
            await settled(lambda: old.upstream.pool.unused)
            old.running += 1  # a long request keeps the old generation
            changed = {"forward": {"upstream": upstream.url, "read_seconds": 9}}
            application.adopt(await application.prepare(gateway_of(tmp_path, changed)))
            assert old.upstream.pool.unused == 0
            old.running -= 1
            old.is_idle.set()


async def test_what_no_generation_uses_any_more_is_closed(tmp_path: Path) -> None:
    other = {"audit": {"sinks": [{"type": "file", "path": str(tmp_path / "other.jsonl")}]}}
    async with running(gateway_of(tmp_path)) as application:
        sink: Any = application.current.recording.main
        application.adopt(await application.prepare(gateway_of(tmp_path, other)))
        await settled(lambda: sink._descriptor == -1)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"server": {"listen": "127.0.0.1:1"}}, "server.listen"),
        ({"server": {"operations_listen": "127.0.0.1:1"}}, "server.operations_listen"),
        ({"server": {"state_directory": "/other"}}, "server.state_directory"),
        ({"server": {"cluster": "other"}}, "server.cluster"),
        ({"server": {"tls_key_file": "/k", "tls_certificate_file": "/c"}}, "server.tls_key_file"),
        ({"forward": {"connections": 5}}, "forward.connections"),
        ({"limit": {"queue": 5}}, "limit.queue"),
        ({"store": {"address": "tcp:127.0.0.1:1"}}, "store.address"),
    ],
)
def test_settings_that_need_a_restart_are_named(changes: dict[str, Any], place: str) -> None:
    (problem,) = fixed_settings(configuration(), configuration(changes))
    assert problem.place == place
    assert "restart" in problem.remedy


def test_other_settings_need_no_restart() -> None:
    changes = {"server": {"drain_seconds": 1}, "limit": {"concurrent_per_identity": 1}}
    assert fixed_settings(configuration(), configuration(changes)) == []


# ---- the shelf


async def test_background_work_runs_once_and_ends_with_its_thing() -> None:
    begun: list[str] = []

    async def work(name: str) -> None:
        begun.append(name)
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        begun.append(f"end of {name}")

    def shelf_with(name: str, previous: Shelf | None) -> Shelf:
        shelf = Shelf(previous)
        shelf.take(name, lambda: name, run=work)
        shelf.start()
        return shelf

    first = shelf_with("a", None)
    second = shelf_with("a", first)
    await asyncio.sleep(0)
    await first.close_except(second)
    third = shelf_with("b", second)
    await asyncio.sleep(0)
    assert begun == ["a", "b"]
    await second.close_except(third)
    assert begun == ["a", "b", "end of a"]
    await third.close_except(None)


@pytest.mark.parametrize("make", [lambda: "x", dict], ids=["a text", "an empty value"])
def test_a_key_gives_the_same_thing_also_when_it_is_empty(make: Callable[[], object]) -> None:
    shelf = Shelf()
    assert shelf.take("key", make) is shelf.take("key", make)


async def test_keys_and_whose_turn_it_is_outlive_every_reload(tmp_path: Path) -> None:
    """Also one that switches keys off: requests of the generation before may still run."""
    async with running(gateway_of(tmp_path)) as application:
        first = application.current.idempotent
        shorter = gateway_of(tmp_path, {"idempotency": {"keep_seconds": 60}})
        application.adopt(await application.prepare(shorter))
        second = application.current.idempotent
        off = gateway_of(tmp_path, {"idempotency": {"enabled": False}})
        application.adopt(await application.prepare(off))
        assert application.current.idempotent.store is None
        application.adopt(await application.prepare(shorter))
        third = application.current.idempotent
    assert second.store is first.store
    uppers = [one.upstream for one in (first, second, third)]
    turns = [one.turns for one in uppers if isinstance(one, IdempotentUpstream)]
    assert len(turns) == 3
    assert len(set(map(id, turns))) == 1


async def test_a_ride_keeps_its_generation_and_begins_in_the_one_in_force_alone(
    tmp_path: Path,
) -> None:
    generation = await built(gateway_of(tmp_path))
    express = generation.serving.express
    assert express is not None
    assert express.enter()
    generation.retire()
    assert not express.enter()
    assert not generation.is_idle.is_set()
    express.leave()
    assert generation.is_idle.is_set()
    await generation.shelf.close_except(None)
