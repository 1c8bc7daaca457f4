"""Two users who poll on kept connections, at a real slurmrestd: repeats ride, answers and audit are right."""

import asyncio
import json
import subprocess
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.app_running import Application
from gateway.config.load import validate
from gateway.web.listening import bind
from gateway.web.server import Listener
from lab import places
from lab.gateway import settings_for
from lab.identity_provider import IdentityProvider
from lab.ports import free_port
from lab.processes import CLEAN_ENVIRONMENT
from lab.slurm import SlurmRelease
from lab.submission import submission, user_of
from lab.toml_text import merged
from tests.configurations import lines_in
from tests.integration.conftest import GENEROUS
from tests.running import running
from tests.unit.web.test_proxy_on_the_wire import Caller

PROGRAM = places.CHECKOUT / ".venv/bin/slurm-gateway"
POLLS = 200
USERS = ("alice", "bob")


def count_rides(application: Application) -> Counter[str]:
    """Counts what begins as a ride, by the way in that rides alone use."""
    counted: Counter[str] = Counter()
    generation = application.current
    express = generation.serving.express
    assert express is not None

    def enter() -> bool:
        counted["rides"] += 1
        return express.enter()

    generation.serving = replace(generation.serving, express=express._replace(enter=enter))
    return counted


def get(path: str, token: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )


def submitted(release: SlurmRelease, user: str) -> int:
    """A held job of this user."""
    version = release.api_versions[0]
    job = submission(version, "#!/bin/sh\ntrue\n", name=f"of-{user}", hold=True)
    status, body = release.request(user, "POST", f"/slurm/{version}/job/submit", job)
    assert status == 200, body
    return int(json.loads(body)["job_id"])


async def poll(port: int, path: str, token: str) -> list[tuple[str, Any]]:
    """(request id, what slurmrestd said) of many repeats on one connection."""
    caller = Caller(*await asyncio.open_connection("127.0.0.1", port))
    found = []
    for _ in range(POLLS):
        caller.writer.write(get(path, token))
        status, headers, body = await caller.answer()
        assert status == 200, body
        found.append((headers["x-request-id"], json.loads(body)))
    caller.hang_up()
    return found


def verify(folder: Path) -> None:
    key, audit = str(folder / "state/audit-initial.key"), str(folder / "audit.jsonl")
    done = subprocess.run(
        [str(PROGRAM), "audit", "verify", "--key-file", key, audit],
        capture_output=True,
        text=True,
        check=False,
        env=CLEAN_ENVIRONMENT,
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def test_two_users_who_poll_ride_and_see_what_is_theirs(
    one_slurm_release: SlurmRelease, identity_provider: IdentityProvider, tmp_path: Path
) -> None:
    """The partitions, and a job of each, in turns over the same connections to slurmrestd."""
    settings = settings_for(
        one_slurm_release, identity_provider, tmp_path, free_port(), free_port()
    )
    version = one_slurm_release.api_versions[0]
    jobs = {user: submitted(one_slurm_release, user) for user in USERS}
    (tmp_path / "state").mkdir(mode=0o700)
    config = validate(merged(settings, GENEROUS))
    async with running(config) as application, AsyncExitStack() as stack:
        counted = count_rides(application)
        bound = bind("127.0.0.1:0", 0o600)
        listener = Listener("test", bound, application, protocol=application.protocol())
        await listener.begin()
        stack.push_async_callback(listener.stop, 2.0)
        port = bound.socket.getsockname()[1]
        tokens = {user: identity_provider.token_for(user) for user in USERS}
        lists = [poll(port, f"/slurm/{version}/partitions", tokens[user]) for user in USERS]
        single = [poll(port, f"/slurm/{version}/job/{jobs[user]}", tokens[user]) for user in USERS]
        first = application.current
        polling = asyncio.gather(*lists, *single)
        while counted["rides"] < POLLS // 4 and not polling.done():  # noqa: ASYNC110  # a reload in the middle
            await asyncio.sleep(0.005)
        application.adopt(await application.prepare(config))
        of_first = counted["rides"]
        counted = count_rides(application)
        heard = await polling
        assert (first.running, first.is_idle.is_set()) == (0, True)
        assert application.current is not first
        assert application.current.running == 0
        assert application.current.slots.queued == 0
    total = POLLS * len(heard)
    assert 0 < of_first + counted["rides"] < total
    assert counted["rides"] > 0
    for answers in heard[: len(USERS)]:
        assert all(said["partitions"] and "jobs" not in said for _, said in answers)
    for user, answers in zip(USERS, heard[len(USERS) :], strict=True):
        for _, said in answers:
            (job,) = said["jobs"]
            assert (job["job_id"], user_of(job)) == (jobs[user], user)
    check_records(tmp_path, heard)
    verify(tmp_path)


def check_records(folder: Path, heard: list[list[tuple[str, Any]]]) -> None:
    """Two lines for each request, the first before the last, with the user who asked."""
    of: dict[str, list[dict[str, Any]]] = {}
    for line in lines_in(folder / "audit.jsonl"):
        if line["event"] in ("begin", "end", "denied"):
            of.setdefault(line["request_id"], []).append(line)
    users = {
        request_id: user
        for user, answers in zip(USERS * 2, heard, strict=True)
        for request_id, _ in answers
    }
    assert of.keys() == users.keys()
    for request_id, lines in of.items():
        assert [line["event"] for line in lines] == ["begin", "end"]
        assert users[request_id] in json.dumps(lines[0])
        assert lines[1]["status"] == 200
