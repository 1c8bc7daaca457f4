"""What the gateway tells and hands its callers itself: through every stage, audited, and nothing of it kept."""

from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey

from gateway.denial import Reason
from tests.configurations import ISSUER, ends_in, token_for, usable
from tests.running import bearer, client_of, gateway_of, running

USER, TOKEN = "/gateway/user", "/gateway/slurm-token"
MINT_FOR_ALL: dict[str, Any] = {
    "authorize": {"roles": {"user": {"allow": ["READ", "SUBMIT", "MINT-TOKEN"]}}}
}


def records_of(folder: Path) -> list[dict[str, Any]]:
    return ends_in(folder / "audit.jsonl")


def key_of(folder: Path) -> bytes:
    return Path(usable(folder)["credential"]["key_file"]).read_bytes()


async def test_a_caller_is_told_their_slurm_user(tmp_path: Path) -> None:
    async with running(gateway_of(tmp_path)) as application:
        found = await client_of(application).get(USER, headers=bearer(token_for("alice")))
    assert found.status_code == 200
    told = found.json()
    assert (told["user"], told["roles"], told["issuer"]) == ("alice", ["user"], ISSUER)
    assert told["kind"] == "user"
    assert found.headers["cache-control"] == "no-store"
    (record,) = records_of(tmp_path)
    assert (record["user"], record["verdict"], record["target"]) == ("alice", "granted", USER)
    assert found.headers["x-request-id"] == record["request_id"]


@pytest.mark.parametrize("enabled", [False, True], ids=["no cache", "a cache"])
async def test_nobody_is_told_of_another_subject_of_the_same_user(
    enabled: bool, tmp_path: Path
) -> None:
    """A cache answers by Slurm user; who asks is more than that."""
    async with running(gateway_of(tmp_path, {"cache": {"enabled": enabled}})) as application:
        client = client_of(application)
        told = [
            (await client.get(USER, headers=bearer(token_for("alice", sub=subject)))).json()
            for subject in ("one", "two", "one")
        ]
    assert [one["subject"] for one in told] == ["one", "two", "one"]
    assert {one["user"] for one in told} == {"alice"}


@pytest.mark.parametrize(("method", "path"), [("GET", USER), ("POST", TOKEN)])
async def test_without_a_token_nobody_is_told_anything(
    method: str, path: str, tmp_path: Path
) -> None:
    async with running(gateway_of(tmp_path, MINT_FOR_ALL)) as application:
        found = await client_of(application).request(method, path)
    assert (found.status_code, found.json()["code"]) == (401, "token-missing")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", USER), ("GET", TOKEN), ("DELETE", TOKEN), ("GET", f"{TOKEN}?user=bob")],
)
async def test_another_method_or_a_parameter_is_no_operation(
    method: str, path: str, tmp_path: Path
) -> None:
    async with running(gateway_of(tmp_path, MINT_FOR_ALL)) as application:
        asked = client_of(application).request(method, path, headers=bearer(token_for("alice")))
        found = await asked
    assert found.status_code == 403
    assert found.json()["code"] == "operation-unlisted"


async def test_no_role_hands_out_tokens_by_default(tmp_path: Path) -> None:
    async with running(gateway_of(tmp_path)) as application:
        found = await client_of(application).post(TOKEN, headers=bearer(token_for("alice")))
    assert (found.status_code, found.json()["code"]) == (403, "operation-unlisted")


async def test_a_token_is_the_callers_own_short_new_and_in_the_audit_but_not_in_it(
    tmp_path: Path,
) -> None:
    config = gateway_of(tmp_path, MINT_FOR_ALL)
    async with running(config) as application:
        client = client_of(application)
        found = await client.post(TOKEN, headers=bearer(token_for("alice")))
        again = await client.post(TOKEN, headers=bearer(token_for("alice")))
    told = found.json()
    assert (found.status_code, told["user"]) == (200, "alice")
    assert found.headers["cache-control"] == "no-store"
    key = key_of(tmp_path)
    claims = jwt.decode(told["slurm_token"], OctKey.import_key(key), algorithms=["HS256"]).claims
    assert claims["sun"] == "alice"
    assert claims["exp"] == told["expires_at"]
    assert claims["exp"] - claims["iat"] <= 600
    assert again.json()["expires_at"] >= told["expires_at"]
    first, _ = records_of(tmp_path)
    assert (first["operation"], first["verdict"]) == (f"POST {TOKEN}", "granted")
    assert "a Slurm token was handed out, good until" in first["note"]
    assert told["slurm_token"] not in (tmp_path / "audit.jsonl").read_text()


async def test_where_the_gateway_makes_no_tokens_it_says_so(tmp_path: Path) -> None:
    passthrough = {"credential": {"provider": "passthrough", "key_file": None}}
    token = token_for("alice", username="alice")
    async with running(gateway_of(tmp_path, {**MINT_FOR_ALL, **passthrough})) as application:
        found = await client_of(application).post(TOKEN, headers=bearer(token))
    assert (found.status_code, found.json()["code"]) == (501, Reason.SLURM_TOKEN_UNSUPPORTED.code)
    (record,) = records_of(tmp_path)
    assert record["code"] == "slurm-token-unsupported"


async def test_a_token_that_the_audit_cannot_hold_is_not_made(tmp_path: Path) -> None:
    """The first record is on disk before anything is signed for somebody to keep."""
    async with running(gateway_of(tmp_path, MINT_FOR_ALL)) as application:
        (tmp_path / "audit.jsonl").unlink()
        (tmp_path / "audit.jsonl").mkdir()
        found = await client_of(application).post(TOKEN, headers=bearer(token_for("alice")))
    assert (found.status_code, found.json()["code"]) == (503, "audit-unavailable")


async def test_a_key_that_would_make_it_repeatable_is_refused(tmp_path: Path) -> None:
    headers = {**bearer(token_for("alice")), "Idempotency-Key": "k1"}
    async with running(gateway_of(tmp_path, MINT_FOR_ALL)) as application:
        found = await client_of(application).post(TOKEN, headers=headers)
    assert (found.status_code, found.json()["code"]) == (400, "idempotency-key-unsupported")
