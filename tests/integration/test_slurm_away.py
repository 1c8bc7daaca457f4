"""slurmctld is stopped behind a real slurmrestd: one call finds out, the others are answered at once or refused."""

import time
from collections.abc import Callable

import pytest

from gateway.stages.forward_result import has_pinged
from lab.gateway import Answer, GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from lab.submission import submission

PAUSE = {"forward": {"breaker_pause_seconds": 20.0}}
SHORT = {**PAUSE, "cache": {"enabled": True, "seconds": 0.01, "stale_seconds": 3600.0}}
HEALED_SECONDS = 90.0


def test_a_ping_that_reached_slurmctld_is_known_by_its_answer(slurm_release: SlurmRelease) -> None:
    for version in slurm_release.api_versions:
        status, body = slurm_release.request("slurm", "GET", f"/slurm/{version}/ping")
        assert (status, has_pinged(body)) == (200, True), (version, body)


@pytest.mark.disturbs_slurm
@pytest.mark.parametrize(
    "slurm_release", ["bookworm", pytest.param("sid", marks=pytest.mark.long)], indirect=True
)
def test_reads_are_answered_from_memory_and_the_rest_is_refused_until_slurm_is_back(
    slurm_release: SlurmRelease,
    gateway: Callable[..., GatewayProcess],
    identity_provider: IdentityProvider,
) -> None:
    at, version = gateway(slurm_release, SHORT), slurm_release.api_versions[0]
    token = identity_provider.token_for("alice")

    def ask(path: str, method: str = "GET", body: object = None) -> Answer:
        return at.ask(method, f"/slurm/{version}{path}", token, body)

    kept = ask("/jobs")
    assert kept.status == 200
    slurm_release.stop("slurmctld")
    found = ask("/jobs")  # the one that finds out
    assert found.status == 200, found.body
    assert found.body == kept.body
    assert "detail=slurm-unavailable" in str(found.headers["Cache-Status"])

    refused = ask("/job/submit", "POST", submission(version, "#!/bin/sh\ntrue\n", hold=True))
    assert (refused.status, refused.json()["code"]) == (503, "slurm-unavailable")
    assert refused.json()["outcome"] == "not-run"
    assert int(refused.headers["Retry-After"]) >= 1
    record = at.audit_record(str(refused.headers["X-Request-Id"]))
    assert (record["code"], record["upstream_ms"]) == ("slurm-unavailable", 0)
    stale = ask("/jobs")
    assert (stale.status, stale.body) == (200, kept.body)
    assert at.audit_record(str(stale.headers["X-Request-Id"]))["note"].endswith(
        "because Slurm did not answer"
    )

    slurm_release.start("slurmctld")
    end = time.monotonic() + HEALED_SECONDS
    while "detail" in str(ask("/jobs").headers["Cache-Status"]):
        assert time.monotonic() < end, "it never asked again"
        time.sleep(0.2)
    assert ask("/ping").status == 200


@pytest.mark.disturbs_slurm
@pytest.mark.long_on("sid")
@pytest.mark.parametrize("slurm_release", ["bookworm", "sid"], indirect=True)
def test_without_a_cache_the_rest_is_refused_as_well(
    slurm_release: SlurmRelease,
    gateway: Callable[..., GatewayProcess],
    identity_provider: IdentityProvider,
) -> None:
    """By default. Nobody waits nine seconds but the one that finds out; reads that repeat do not, either."""
    at, version = gateway(slurm_release, PAUSE), slurm_release.api_versions[0]
    token = identity_provider.token_for("alice")

    def ask(path: str, method: str = "GET", body: object = None) -> Answer:
        return at.ask(method, f"/slurm/{version}{path}", token, body)

    for _ in range(3):
        assert ask("/diag").status == 200
    slurm_release.stop("slurmctld")
    assert ask("/jobs").status >= 500  # the one that finds out
    held = submission(version, "#!/bin/sh\ntrue\n", hold=True)
    for refused in (ask("/diag"), ask("/job/submit", "POST", held)):
        assert (refused.status, refused.json()["code"]) == (503, "slurm-unavailable")
        assert at.audit_record(str(refused.headers["X-Request-Id"]))["upstream_ms"] == 0
    assert refused.json()["outcome"] == "not-run"

    slurm_release.start("slurmctld")
    end = time.monotonic() + HEALED_SECONDS
    while ask("/diag").status != 200:
        assert time.monotonic() < end, "it never asked again"
        time.sleep(0.2)
