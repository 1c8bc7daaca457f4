"""The cache of a whole gateway in its metrics, over reloads."""

from pathlib import Path
from typing import Any

import httpx2

from gateway.app_running import Application
from tests.configurations import token_for
from tests.running import bearer, client_of, client_of_operations, gateway_of, running
from tests.scripted_upstream import ScriptedUpstream, answer, answering

JOBS = "/slurm/v0.0.42/jobs"
MANY = {"rates": {"read-heavy": "100/second"}}
CACHED: dict[str, Any] = {"enabled": True, "seconds": 60.0}


async def ask(application: Application, user: str = "alice", **headers: str) -> httpx2.Response:
    return await client_of(application).get(JOBS, headers=bearer(token_for(user)) | headers)


async def metrics_of(application: Application) -> dict[str, float]:
    """What begins with cache_ or breaker_, without the prefix."""
    text = (await client_of_operations(application).get("/metrics")).text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {
        name.removeprefix("slurm_gateway_"): float(value)
        for name, value in lines
        if name.startswith(("slurm_gateway_cache_", "slurm_gateway_breaker_"))
        and "_created" not in name
    }


async def test_what_was_counted_outlives_a_reload_and_what_is_kept_does_not(tmp_path: Path) -> None:
    async with ScriptedUpstream(answering(lambda _: answer(b'{"jobs":[]}'))) as upstream:
        changes = {"forward": {"upstream": upstream.url}, "cache": CACHED, "limit": MANY}
        async with running(gateway_of(tmp_path, changes)) as application:
            first = await ask(application)
            await ask(application)
            same = await ask(application, **{"If-None-Match": first.headers["ETag"]})
            assert same.status_code == 304
            before = await metrics_of(application)
            application.adopt(await application.prepare(gateway_of(tmp_path, changes)))
            await ask(application)
            after = await metrics_of(application)
    assert before['cache_answers_total{outcome="miss"}'] == 1
    assert before['cache_answers_total{outcome="hit"}'] == 2
    assert (before["cache_not_modified_total"], before["cache_upstream_calls_total"]) == (1, 1)
    assert before["cache_entries"] == after["cache_entries"] == 1
    assert 0 < before["cache_bytes"] < before["cache_maximum_bytes"]
    assert after['cache_answers_total{outcome="miss"}'] == 2
    assert (after["cache_not_modified_total"], after["cache_upstream_calls_total"]) == (1, 2)
    assert before['breaker_open{daemon="slurmctld"}'] == 0
    assert "alice" not in " ".join(after)


async def test_without_the_cache_nothing_is_said_of_it(tmp_path: Path) -> None:
    async with running(gateway_of(tmp_path)) as application:
        assert not [name for name in await metrics_of(application) if name.startswith("cache_")]
