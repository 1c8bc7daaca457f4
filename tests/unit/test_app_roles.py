"""Conditions of roles and ceilings for failures, through the whole application."""

import json
from pathlib import Path

from lab.toml_text import Settings
from tests.configurations import ISSUER, token_for
from tests.running import bearer, client_of, client_of_operations, gateway_of, running

READ = "/slurm/v0.0.42/diag"


def operators(**role: object) -> Settings:
    """Whoever is of a high level is an operator, on these conditions."""
    return {
        "server": {"trusted_proxies": ["192.0.2.0/24"]},
        "authorize": {"roles": {"user": {"allow": []}, "operator": {"allow": ["READ"], **role}}},
        "map_user": {"roles": [{"issuer": ISSUER, "role": "operator", "when": {"level": "high"}}]},
    }


async def test_a_role_is_held_from_its_networks_and_a_refusal_says_so_in_the_audit(
    tmp_path: Path,
) -> None:
    config = gateway_of(tmp_path, operators(networks=["198.51.100.0/24"]))
    token = bearer(token_for("alice", level="high"))
    async with running(config) as application:
        client = client_of(application)
        inside = await client.get(READ, headers=token | {"X-Forwarded-For": "198.51.100.9"})
        outside = await client.get(READ, headers=token | {"X-Forwarded-For": "203.0.113.9"})
    assert inside.json()["code"] == "upstream-unreachable"  # it was let through
    assert (outside.status_code, outside.json()["code"]) == (403, "operation-unlisted")
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    (refused,) = [line for line in map(json.loads, lines) if line["event"] == "denied"]
    assert "not held: operator (source network)" in refused["note"]


async def test_a_role_is_not_held_with_a_token_that_lives_too_long(tmp_path: Path) -> None:
    token = bearer(token_for("alice", level="high"))
    for longest, code in ((1.0, "operation-unlisted"), (86_400.0, "upstream-unreachable")):
        folder = tmp_path / code
        folder.mkdir()
        config = gateway_of(folder, operators(maximum_token_seconds=longest))
        async with running(config) as application:
            answer = await client_of(application).get(READ, headers=token)
            assert answer.json()["code"] == code


async def test_failures_are_counted_in_the_metrics_and_a_known_token_is_still_heard(
    tmp_path: Path,
) -> None:
    limits = {"failed_authentications_per_subject": "2/day"}
    config = gateway_of(tmp_path, {"limit": limits})
    good = token_for("alice")
    async with running(config) as application:
        client = client_of(application)
        await client.get(READ, headers=bearer(good))
        forged = [await client.get(READ, headers=bearer(f"{good[:-8]}AAAAAAAA")) for _ in range(3)]
        assert [answer.status_code for answer in forged] == [401, 401, 429]
        assert int(forged[-1].headers["Retry-After"]) >= 1
        fresh = await client.get(READ, headers=bearer(token_for("alice", nonce="2")))
        assert fresh.status_code == 429
        assert (await client.get(READ, headers=bearer(good))).status_code == 502
        metrics = (await client_of_operations(application).get("/metrics")).text
    assert 'slurm_gateway_failed_authentications_total{kind="unknown"} 2.0' in metrics
    assert 'slurm_gateway_throttled_authentications_total{by="subject"} 2.0' in metrics
    assert 'slurm_gateway_refusals_total{code="authentication-throttled"} 2.0' in metrics
