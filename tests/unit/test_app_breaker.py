"""The breaker of a whole gateway without a cache: by default, switched off, over reloads, and before keys."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from gateway.app_running import Application
from tests.configurations import token_for
from tests.running import bearer, client_of, client_of_operations, gateway_of, running
from tests.scripted_upstream import ScriptedUpstream, Seen, answer, answering

BASE = "/slurm/v0.0.42"
AWAY = answer(b'{"errors":[{"error_number":1800}]}', "500 Internal Server Error")
MANY = {"rates": {"read-heavy": "100/second", "read": "100/second", "submit": "100/second"}}
JOB = {"job": {"script": "#!/bin/sh\ntrue\n", "name": "x", "current_working_directory": "/tmp"}}  # noqa: S108 (a job's)


class Slurm:
    """A slurmrestd whose slurmctld is there or not."""

    def __init__(self) -> None:
        self.is_away = False
        self.upstream = ScriptedUpstream(answering(self._reply))

    def _reply(self, seen: Seen) -> bytes:
        if self.is_away and seen.path.startswith("/slurm/"):
            return AWAY
        return answer(b'{"job_id":7,"jobs":[],"errors":[]}')

    @property
    def calls(self) -> int:
        return len(self.upstream.seen)

    def config(self, folder: Path, *, own_jobs_only: bool = False, **forward: Any) -> Any:
        changes: dict[str, Any] = {"forward": {"upstream": self.upstream.url, **forward}}
        if own_jobs_only:
            changes["authorize"] = {
                "roles": {"user": {"allow": ["READ", "JOB-WRITE", "SUBMIT"], "own_jobs_only": True}}
            }
        return gateway_of(folder, changes | {"limit": MANY})


async def get(application: Application, path: str) -> httpx2.Response:
    return await client_of(application).get(path, headers=bearer(token_for("alice")))


async def submit(application: Application, key: str = "") -> httpx2.Response:
    headers = {**bearer(token_for("alice")), "Content-Type": "application/json"}
    headers |= {"Idempotency-Key": key} if key else {}
    content = orjson.dumps(JOB)
    return await client_of(application).post(f"{BASE}/job/submit", headers=headers, content=content)


async def is_open(application: Application) -> bool:
    text = (await client_of_operations(application).get("/metrics")).text
    return 'slurm_gateway_breaker_open{daemon="slurmctld"} 1.0' in text


async def test_after_the_one_that_finds_out_nothing_is_sent(tmp_path: Path) -> None:
    slurm = Slurm()
    async with slurm.upstream, running(slurm.config(tmp_path)) as application:
        slurm.is_away = True
        found = await get(application, f"{BASE}/jobs")
        assert (found.status_code, found.content) == (500, AWAY.rpartition(b"\r\n")[2])
        calls = slurm.calls
        for refused in (await get(application, f"{BASE}/diag"), await submit(application)):
            assert (refused.status_code, refused.json()["code"]) == (503, "slurm-unavailable")
            assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["outcome"] == "not-run"
        assert slurm.calls == calls
        assert await is_open(application)
        assert (await get(application, "/slurmdb/v0.0.42/jobs")).status_code == 200


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    slurm = Slurm()
    async with slurm.upstream, running(slurm.config(tmp_path, breaker=False)) as application:
        slurm.is_away = True
        for _ in range(4):
            assert (await get(application, f"{BASE}/jobs")).status_code == 500
        assert slurm.calls == 4
        text = (await client_of_operations(application).get("/metrics")).text
        assert "breaker" not in text


async def test_what_is_known_outlives_a_reload_unless_slurmrestd_is_another(
    tmp_path: Path,
) -> None:
    slurm, other = Slurm(), Slurm()
    async with slurm.upstream, other.upstream, running(slurm.config(tmp_path)) as application:
        slurm.is_away = True
        await get(application, f"{BASE}/jobs")
        application.adopt(await application.prepare(slurm.config(tmp_path, read_seconds=9)))
        assert (await get(application, f"{BASE}/jobs")).status_code == 503
        application.adopt(await application.prepare(other.config(tmp_path)))
        assert (await get(application, f"{BASE}/jobs")).status_code == 200


@pytest.mark.parametrize("key", ["", "k" * 32])
async def test_a_refused_submission_runs_once_when_it_is_sent_again(
    tmp_path: Path, key: str
) -> None:
    """Its key is free again."""
    slurm = Slurm()
    async with (
        slurm.upstream,
        running(slurm.config(tmp_path, breaker_pause_seconds=0.1)) as application,
    ):
        slurm.is_away = True
        await get(application, f"{BASE}/jobs")
        refused = await submit(application, key)
        assert (refused.json()["code"], refused.json()["outcome"]) == (
            "slurm-unavailable",
            "not-run",
        )
        slurm.is_away = False
        while (again := await submit(application, key)).status_code == 503:
            assert again.json()["code"] == "slurm-unavailable"
        assert (again.status_code, again.json()["job_id"]) == (200, 7)
        assert sum(seen.path.endswith("/submit") for seen in slurm.upstream.seen) == 1


async def test_what_is_remembered_is_replayed_and_says_nothing_of_slurm(tmp_path: Path) -> None:
    """Nothing is sent for it, so that it ends no pause and is none of the calls that find out."""
    slurm = Slurm()
    async with (
        slurm.upstream,
        running(slurm.config(tmp_path, breaker_pause_seconds=0.1)) as application,
    ):
        await get(application, f"{BASE}/jobs")
        assert (await submit(application, "k" * 32)).status_code == 200
        slurm.is_away = True
        await get(application, f"{BASE}/jobs")
        calls = slurm.calls
        for _ in range(2):
            replayed = await submit(application, "k" * 32)
            assert (replayed.status_code, replayed.json()["job_id"]) == (200, 7)
            assert replayed.headers["Idempotent-Replayed"] == "true"
            assert await is_open(application)
            await asyncio.sleep(0.11)
        assert slurm.calls == calls


async def test_whose_a_job_is_is_not_asked_either(tmp_path: Path) -> None:
    slurm = Slurm()
    async with (
        slurm.upstream,
        running(slurm.config(tmp_path, own_jobs_only=True)) as application,
    ):
        slurm.is_away = True
        await get(application, f"{BASE}/diag")
        assert await is_open(application)
        calls = slurm.calls
        headers = bearer(token_for("alice"))
        refused = await client_of(application).delete(f"{BASE}/job/7", headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (503, "slurm-unavailable")
        assert slurm.calls == calls
