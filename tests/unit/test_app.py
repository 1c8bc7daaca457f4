"""The assembly: which implementation a configuration picks, and what becomes of requests."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gateway.app import try_out
from gateway.app_policy import BuildError
from gateway.edges.deny_list import FileDenyList, NoDenyList
from gateway.edges.jwks import RemoteKeys
from gateway.edges.jwks_file import FileKeys
from gateway.edges.token_source import CommandTokens, FileTokens
from gateway.model import Risk
from gateway.stages.credential import Attach, Impersonate, Mint, Passthrough
from gateway.token.profiles import Cognito, Oidc, Rfc9068
from lab.toml_text import merged
from tests.configurations import ISSUER, ends_in, token_for, usable
from tests.running import (
    bearer,
    built,
    client_of,
    client_of_operations,
    gateway_of,
    parts_of,
    running,
)
from tests.scripted_upstream import ScriptedUpstream, Seen, answer, answering

# ---- what a configuration picks


@pytest.mark.parametrize(
    ("section", "strategy"),
    [
        ({}, Mint),
        ({"provider": "attach", "key_file": None, "token_file": "/t/{user}"}, Attach),
        ({"provider": "attach", "key_file": None, "command": ["scontrol", "token"]}, Attach),
        (
            {"provider": "attach", "key_file": None, "token_file": "/t", "impersonate": True},
            Impersonate,
        ),
        ({"provider": "passthrough", "key_file": None}, Passthrough),
    ],
)
async def test_the_provider_of_credentials_picks_the_strategy(
    section: dict[str, Any], strategy: type, tmp_path: Path
) -> None:
    generation = await built(gateway_of(tmp_path, {"credential": section}))
    assert type(generation.serving.pipeline.credential) is strategy


@pytest.mark.parametrize(
    ("section", "source"),
    [
        ({"token_file": "/t/{user}"}, FileTokens),
        ({"command": ["scontrol", "token", "username={user}"]}, CommandTokens),
    ],
)
async def test_attached_tokens_come_from_a_file_or_a_command(
    section: dict[str, Any], source: type, tmp_path: Path
) -> None:
    credential = {"provider": "attach", "key_file": None, **section}
    generation = await built(gateway_of(tmp_path, {"credential": credential}))
    stage = generation.serving.pipeline.credential
    assert isinstance(stage, Attach)
    assert type(stage._tokens) is source


@pytest.mark.parametrize(
    ("issuer", "profile", "keys", "groups"),
    [
        ({}, Oidc, FileKeys, "groups"),
        ({"groups_claim": "roles"}, Oidc, FileKeys, "roles"),
        ({"jwks_file": None}, Oidc, RemoteKeys, "groups"),
        ({"profile": "rfc9068"}, Rfc9068, FileKeys, "groups"),
        (
            {"profile": "cognito", "audiences": None, "client_ids": ["cli"]},
            Cognito,
            FileKeys,
            "cognito:groups",
        ),
    ],
)
async def test_an_issuer_picks_its_profile_its_groups_and_where_its_keys_are(
    issuer: dict[str, Any], profile: type, keys: type, groups: str, tmp_path: Path
) -> None:
    (plain,) = usable(tmp_path)["authenticate"]["issuers"]
    config = gateway_of(tmp_path, {"authenticate": {"issuers": [merged(plain, issuer)]}})
    generation = await built(config)
    trusted = generation.identification.authenticate._issuers[ISSUER]
    assert type(trusted.rules.profile) is profile
    assert type(trusted.keys) is keys
    assert trusted.rules.groups_claim == groups


async def test_a_deny_list_is_read_where_one_is_named(tmp_path: Path) -> None:
    assert isinstance((await built(gateway_of(tmp_path))).identification.deny_list, NoDenyList)
    path = tmp_path / "deny.toml"
    path.write_text('[[deny]]\njti = "x"\n')
    config = gateway_of(tmp_path, {"authenticate": {"deny_list_file": str(path)}})
    assert isinstance((await built(config)).identification.deny_list, FileDenyList)


@pytest.mark.parametrize("bind", [None, "first-use"])
async def test_bindings_are_kept_only_where_a_rule_binds(bind: str | None, tmp_path: Path) -> None:
    rule = {"issuer": ISSUER, "claim": "uid", **({"bind": bind} if bind else {})}
    generation = await built(gateway_of(tmp_path, {"map_user": {"rules": [rule]}}))
    await try_out(generation)
    assert (generation.mapped.bindings is not None) is bool(bind)
    assert (tmp_path / "state/bindings.sqlite").exists() is bool(bind)


async def test_every_class_has_the_rate_of_its_name(tmp_path: Path) -> None:
    rates = {risk.lower(): f"{number}/second" for number, risk in enumerate(Risk, 1)}
    generation = await built(gateway_of(tmp_path, {"limit": {"rates": rates}}))
    limit: Any = generation.serving.pipeline.limit
    assert {risk: rate.amount for risk, rate in limit._rates.items()} == {
        risk: number for number, risk in enumerate(Risk, 1)
    }


async def test_everything_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    (plain,) = usable(tmp_path)["authenticate"]["issuers"]
    config = gateway_of(
        tmp_path,
        {
            "authenticate": {"issuers": [{**plain, "jwks_file": "/nonexistent/keys"}]},
            "map_user": {"rules": [{"issuer": ISSUER, "table_file": "/nonexistent/users"}]},
            "audit": {"sinks": [{"type": "file", "path": "/nonexistent/audit.jsonl"}]},
        },
    )
    with pytest.raises(BuildError) as caught:
        await built(config)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "authenticate",
        "map_user",
        "audit",
    ]


async def test_what_needs_no_request_is_tried_before_it_is_put_in_force(tmp_path: Path) -> None:
    config = gateway_of(tmp_path)
    (tmp_path / "jwt_hs256.key").chmod(0o644)
    generation = await built(config)
    shutil.rmtree(tmp_path / "state")
    with pytest.raises(BuildError) as caught:
        await try_out(generation)
    assert [problem.split()[0] for problem in caught.value.problems] == ["credential:", "state"]


def test_importing_the_assembly_starts_nothing() -> None:
    """No thread, no socket, no event loop: benchmarks and commands import it for its parts."""
    import subprocess
    import sys

    code = (
        "import threading, gateway.app_running, asyncio, os\n"
        "assert threading.active_count() == 1\n"
        "links = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')"
        " if os.path.islink(f'/proc/self/fd/{fd}')]\n"
        "assert not [link for link in links if link.startswith('socket:')], links\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- requests


async def test_a_request_goes_all_the_way_and_is_recorded_and_counted(tmp_path: Path) -> None:
    def reply(seen: Seen) -> bytes:
        return answer(b'{"for":"%b"}' % seen.user.encode())

    async with ScriptedUpstream(answering(reply)) as upstream:
        config = gateway_of(tmp_path, {"forward": {"upstream": upstream.url}})
        async with running(config) as application:
            client = client_of(application)
            found = await client.get("/slurm/v0.0.42/diag", headers=bearer(token_for("alice")))
            assert (found.status_code, found.json()) == (200, {"for": "alice"})
            (record,) = ends_in(tmp_path / "audit.jsonl")
            assert record["request_id"] == found.headers["x-request-id"]
            assert (record["user"], record["verdict"]) == ("alice", "granted")
            metrics = await client_of_operations(application).get("/metrics")
            assert 'status="200",verdict="granted"} 1.0' in metrics.text


@pytest.mark.parametrize(
    ("path", "status", "verdict", "code"),
    [
        ("/", 200, "granted", ""),
        ("/.well-known/oauth-protected-resource", 200, "granted", ""),
        ("/gateway/errors/token-missing", 200, "granted", ""),
        ("/.well-known/bogus", 404, "denied", "page-unknown"),
        ("/gateway/errors/bogus", 404, "denied", "page-unknown"),
        ("/healthz", 401, "denied", "token-missing"),
        ("/metrics", 401, "denied", "token-missing"),
        ("/bogus", 401, "denied", "token-missing"),
        ("/slurm/v0.0.42/jobs", 401, "denied", "token-missing"),
    ],
)
async def test_pages_need_no_token_and_everything_else_does(
    path: str, status: int, verdict: str, code: str, tmp_path: Path
) -> None:
    """Unknown paths too, so that nobody learns without a token what there is."""
    async with running(gateway_of(tmp_path)) as application:
        found = await client_of(application).get(path, headers={"X-Forwarded-For": "192.0.2.1"})
    assert found.status_code == status
    (record,) = ends_in(tmp_path / "audit.jsonl")
    assert (record["status"], record["verdict"], record["code"]) == (status, verdict, code)
    assert record["request_id"] == found.headers["x-request-id"]
    assert (record["client_address"], record["target"]) == ("192.0.2.7", path)


async def test_an_unknown_path_with_a_token_is_an_unlisted_operation(tmp_path: Path) -> None:
    async with running(gateway_of(tmp_path)) as application:
        found = await client_of(application).get("/bogus", headers=bearer(token_for("alice")))
    assert (found.status_code, found.json()["code"]) == (403, "operation-unlisted")


async def test_a_broken_page_is_a_problem_document_and_recorded(tmp_path: Path) -> None:
    async with running(gateway_of(tmp_path)) as application:

        async def broken(*_: object) -> None:
            raise RuntimeError("canary-detail")

        application.current.portal._application = broken
        found = await client_of(application).get("/")
    assert (found.status_code, found.json()["code"]) == (500, "internal-error")
    assert "canary" not in found.text
    (record,) = ends_in(tmp_path / "audit.jsonl")
    assert record["code"] == "internal-error"


# ---- readiness


async def test_a_gateway_with_keys_key_audit_and_room_is_ready(tmp_path: Path) -> None:
    async with running(gateway_of(tmp_path)) as application:
        parts = await parts_of(application)
    assert parts.pop("ready")
    assert all(part["ok"] for part in parts.values())
    assert set(parts) == {
        "keys", "credential", "audit", "disk", "draining", "upstream", "directory", "tables", "idempotency", "sessions",
        "store",
    }  # fmt: skip


async def test_without_any_issuers_keys_it_is_not_ready_and_with_one_it_is(tmp_path: Path) -> None:
    away = {"issuer": "http://127.0.0.1:9", "audiences": ["a"]}
    (there,) = usable(tmp_path)["authenticate"]["issuers"]
    rule = [{"issuer": "http://127.0.0.1:9", "claim": "uid"}]
    alone = {"authenticate": {"issuers": [away]}, "map_user": {"rules": rule}}
    async with running(gateway_of(tmp_path, alone)) as application:
        parts = await parts_of(application)
        assert (parts["ready"], parts["keys"]["ok"]) == (False, False)
    both = {"authenticate": {"issuers": [away, there]}}
    async with running(gateway_of(tmp_path, both)) as application:
        parts = await parts_of(application)
        assert parts["ready"]
        assert not parts["keys"]["detail"]["http://127.0.0.1:9"]["ok"]


async def test_a_draining_gateway_is_not_ready(tmp_path: Path) -> None:
    async with running(gateway_of(tmp_path)) as application:
        application.is_draining = True
        parts = await parts_of(application)
    assert (parts["ready"], parts["draining"]["ok"]) == (False, False)


async def test_a_sink_that_takes_no_line_makes_it_not_ready(tmp_path: Path) -> None:
    async with running(gateway_of(tmp_path)) as application:
        sink: Any = application.current.recording.main
        os.close(sink._descriptor)
        sink._descriptor = os.open("/dev/full", os.O_WRONLY)
        await client_of(application).get("/")
        parts = await parts_of(application)
    assert (parts["ready"], parts["audit"]["ok"]) == (False, False)


async def test_a_credential_that_slurm_refused_makes_it_not_ready(tmp_path: Path) -> None:
    reply = answering(lambda _: answer(b'{"errors":[]}', "511 Network Authentication Required"))
    async with ScriptedUpstream(reply) as upstream:
        config = gateway_of(tmp_path, {"forward": {"upstream": upstream.url}})
        async with running(config) as application:
            path, headers = "/slurm/v0.0.42/diag", bearer(token_for("alice"))
            found = await client_of(application).get(path, headers=headers)
            assert found.json()["code"] == "credential-refused"
            parts = await parts_of(application)
    assert (parts["ready"], parts["credential"]["ok"]) == (False, False)


async def test_a_slurmrestd_that_is_away_is_told_and_changes_no_readiness(tmp_path: Path) -> None:
    async with running(
        gateway_of(tmp_path, {"forward": {"upstream": "http://127.0.0.1:9"}})
    ) as application:
        headers = bearer(token_for("alice"))
        await client_of(application).get("/slurm/v0.0.42/diag", headers=headers)
        parts = await parts_of(application)
    assert (parts["ready"], parts["upstream"]["ok"]) == (True, False)
