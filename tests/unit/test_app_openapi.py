"""slurmrestd's document in a whole gateway: kept for an hour, and never longer than its slurmrestd lives."""

from pathlib import Path

import orjson
import pytest

from gateway.app_running import Application
from tests.configurations import token_for
from tests.running import bearer, client_of, gateway_of, running
from tests.scripted_upstream import ScriptedUpstream, Seen, answer, answering
from tests.unit.openapi.documents import raw
from tests.upstream_kit import settled

_IDLE_SECONDS = 0.3


class Upgraded:
    """A slurmrestd of one release, then of another."""

    def __init__(self) -> None:
        self.path = "/slurm/v0.0.42/jobs"
        self.upstream = ScriptedUpstream(answering(self._reply))

    def _reply(self, seen: Seen) -> bytes:
        if not seen.path.startswith("/openapi"):
            return answer(b"{}")
        document = orjson.loads(raw())
        document["paths"] = {self.path: document["paths"]["/slurm/v0.0.42/jobs"]}
        return answer(orjson.dumps(document))

    @property
    def fetches(self) -> int:
        return sum(seen.path.startswith("/openapi") for seen in self.upstream.seen)

    async def restart(self) -> None:
        """As another release, on the same port."""
        await self.upstream.stop()
        self.path = "/slurm/v0.0.43/jobs"
        await self.upstream.start()


async def paths_in(application: Application) -> list[str]:
    headers = bearer(token_for("alice"))
    found = await client_of(application).get("/openapi/v3", headers=headers)
    assert found.status_code == 200, found.text
    return [path for path in found.json()["paths"] if path.startswith("/slurm")]


@pytest.mark.parametrize("idle_seconds", [60.0, _IDLE_SECONDS], ids=["kept", "not kept"])
async def test_an_upgrade_is_seen_at_once_whether_or_not_a_connection_was_kept(
    tmp_path: Path, idle_seconds: float
) -> None:
    """While slurmrestd runs, it is asked once."""
    slurmrestd = Upgraded()
    async with slurmrestd.upstream as upstream:
        forward = {"upstream": upstream.url, "idle_seconds": idle_seconds}
        many = {"rates": {"read-heavy": "100/second"}}
        config = gateway_of(tmp_path, {"forward": forward, "limit": many})
        assert config.forward.openapi_seconds == 3600
        async with running(config) as application:
            for _ in range(3):
                assert await paths_in(application) == ["/slurm/v0.0.42/jobs"]
            assert slurmrestd.fetches == 1
            if idle_seconds == _IDLE_SECONDS:
                await settled(lambda: not upstream.live)  # closed by the gateway
            await slurmrestd.restart()
            assert await paths_in(application) == ["/slurm/v0.0.43/jobs"]
