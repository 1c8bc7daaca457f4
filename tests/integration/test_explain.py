"""`slurm-gateway explain`: what each stage says to a request, without forwarding, counting or remembering it."""

import json
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lab import certificates
from lab.gateway import settings_for
from lab.identity_provider import IdentityProvider
from lab.ports import free_port
from lab.slurm import SlurmRelease
from lab.toml_text import Settings, merged, to_toml
from tests.configurations import ISSUER, token_for
from tests.serving import ENVIRONMENT, PROGRAM, READ, Served, served

OPERATOR: Settings = {
    "authorize": {"roles": {"operator": {"allow": ["READ-ACCOUNTING"], "deny": ["SUBMIT"]}}},
    "map_user": {"roles": [{"issuer": ISSUER, "role": "operator", "when": {"level": "high"}}]},
}


def explain(
    gateway: Served, method: str, path: str, *options: str, token: str | None = None
) -> tuple[int, dict[str, Any]]:
    """(exit code, the JSON)."""
    arguments = ["explain", method, path, "--json", *options]
    if token is not None:
        (gateway.folder / "token").write_text(f"{token}\n")
        arguments += ["--token-file", str(gateway.folder / "token")]
    done = gateway.run(*arguments)
    assert done.stderr == "", done.stderr
    return done.returncode, json.loads(done.stdout)


def stage(told: dict[str, Any], name: str) -> dict[str, Any]:
    """The last thing that a stage said."""
    found: dict[str, Any] = [one for one in told["stages"] if one["stage"] == name][-1]
    return found


def test_every_stage_of_a_granted_request_answers(tmp_path: Path) -> None:
    gateway = Served(tmp_path, OPERATOR)
    token = token_for("alice", level="high")
    code, told = explain(gateway, "GET", "/slurmdb/v0.0.42/users", token=token)
    assert (code, told["verdict"]) == (0, "granted")
    assert [one["stage"] for one in told["stages"]] == [
        "receive",
        "authenticate",
        "map_user",
        "authorize",
        "authorize",
        "limit",
        "credential",
    ]
    assert stage(told, "authenticate")["subject"] == "subject-of-alice"
    assert stage(told, "map_user")["roles"] == ["user", "operator"]
    assert stage(told, "map_user")["rule"] == "map_user.rules[0]"
    assert stage(told, "authorize")["rule"] == "authorize.roles.operator.allow[READ-ACCOUNTING]"
    assert stage(told, "limit")["rate"] == "read-accounting"
    assert stage(told, "credential")["provider"] == "mint"
    assert not stage(told, "credential")["asked"], "no token was made"


@pytest.mark.parametrize(
    ("method", "path", "options", "code"),
    [
        ("GET", "/slurm/v0.0.42/../jobs", ("--user", "alice"), "target-malformed"),
        ("PATCH", "/slurm/v0.0.42/jobs", ("--user", "alice"), "method-not-allowed"),
        ("GET", "/slurm/v0.0.42/jobs", ("--user", "root"), "user-forbidden"),
        ("GET", "/slurm/v0.0.99/jobs", ("--user", "alice"), "operation-unlisted"),
        ("GET", "/slurm/v0.0.42/reconfigure", ("--user", "alice"), "operation-unlisted"),
        ("GET", "/slurm/v0.0.42/job/1..", ("--user", "alice"), "parameter-invalid"),
        ("GET", "/slurm/v0.0.42/diag?x=1", ("--user", "alice"), "query-unlisted"),
        (
            "POST",
            "/slurm/v0.0.42/job/submit",
            ("--user", "alice", "--role", "operator"),
            "operation-unlisted",
        ),
    ],
)
def test_a_refusal_is_told_with_its_code_and_exits_with_1(
    method: str, path: str, options: tuple[str, ...], code: str, tmp_path: Path
) -> None:
    exit_code, told = explain(Served(tmp_path, OPERATOR), method, path, *options)
    assert (exit_code, told["verdict"], told["code"]) == (1, "denied", code)


@pytest.mark.parametrize(
    ("claims", "code", "note"),
    [
        ({"iss": "https://evil.example.org"}, "token-invalid", "iss is not one of ours"),
        ({"aud": "other"}, "token-invalid", "aud is not one of ours"),
        ({"exp": 1}, "token-invalid", "expired"),
        ({"uid": None}, "user-unmapped", "claim uid is missing or empty"),
        ({"uid": "root"}, "user-forbidden", "map_user.rules[0] gives root"),
    ],
)
def test_what_is_wrong_with_a_token_is_said_here_though_never_to_its_bearer(
    claims: dict[str, object], code: str, note: str, tmp_path: Path
) -> None:
    token = token_for("alice", 600, **claims)
    exit_code, told = explain(Served(tmp_path), "GET", READ, token=token)
    assert (exit_code, told["code"], told["note"]) == (1, code, note)
    assert token.rpartition(".")[2] not in json.dumps(told)


def test_the_same_verdict_as_serve(tmp_path: Path) -> None:
    changes: Settings = {**OPERATOR, "forward": {"upstream": "http://127.0.0.1:9"}}
    with served(tmp_path, changes) as gateway:
        for path, name in (
            (READ, "alice"),
            ("/slurmdb/v0.0.42/users", "alice"),
            ("/slurm/v0.0.42/bogus", "alice"),
            (READ, "root"),
            ("/slurm/v0.0.42/job/1..", "alice"),
        ):
            token = token_for(name)
            served_code = json.loads(gateway.ask(path, token)[2])["code"]
            _, told = explain(gateway, "GET", path, token=token)
            granted = served_code == "upstream-unreachable"
            assert (told["verdict"] == "granted") is granted
            assert granted or told["code"] == served_code


def test_nothing_is_counted_forwarded_remembered_or_written(tmp_path: Path) -> None:
    rule = {"issuer": ISSUER, "claim": "uid", "bind": "first-use"}
    gateway = Served(tmp_path, {"map_user": {"rules": [rule]}})
    before = sorted(tmp_path.rglob("*"))
    code, _ = explain(gateway, "GET", READ, token=token_for("alice"))
    assert code == 0
    assert sorted(path for path in tmp_path.rglob("*") if path.name != "token") == before


def test_bindings_are_looked_at_and_not_made(tmp_path: Path) -> None:
    rule = {"issuer": ISSUER, "claim": "uid", "bind": "first-use"}
    changes = {"map_user": {"rules": [rule]}, "forward": {"upstream": "http://127.0.0.1:9"}}
    with served(tmp_path, changes) as gateway:
        gateway.ask(READ, token_for("alice"))
        code, told = explain(gateway, "GET", READ, token=token_for("alice", sub="another"))
        assert (code, told["code"]) == (1, "subject-conflict")
        assert explain(gateway, "GET", READ, token=token_for("bob"))[0] == 0
    rows = sqlite3.connect(tmp_path / "state/bindings.sqlite").execute("SELECT user FROM binding")
    assert rows.fetchall() == [("alice",)]


def test_a_page_of_the_gateway_itself_is_said_to_need_no_token(tmp_path: Path) -> None:
    code, told = explain(Served(tmp_path), "GET", "/", "--user", "alice")
    assert (code, told["verdict"]) == (0, "granted")


def test_for_people_it_is_a_line_a_stage(tmp_path: Path) -> None:
    gateway = Served(tmp_path)
    granted = gateway.run("explain", "post", "/slurm/v0.0.42/job/submit", "--user", "alice")
    assert granted.returncode == 0
    assert "✓ receive       POST /slurm/v0.0.42/job/submit" in granted.stdout
    assert granted.stdout.endswith("granted (nothing was forwarded)\n")
    refused = gateway.run("explain", "GET", "/bogus", "--user", "alice")
    assert refused.returncode == 1
    assert "✗ 403 operation-unlisted" in refused.stdout
    assert refused.stdout.endswith("denied\n")
    assert "\x1b" not in granted.stdout + refused.stdout


def test_the_token_may_come_on_standard_input(tmp_path: Path) -> None:
    """Never on the command line, where every user of the machine could read it."""
    gateway = Served(tmp_path)
    done = subprocess.run(
        [PROGRAM, "explain", "GET", READ, "--token-file", "-", "--config", gateway.file],
        input=token_for("alice"),
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("content", [None, ""], ids=["no file", "an empty file"])
def test_a_token_file_that_cannot_be_used_is_a_wrong_call(
    content: str | None, tmp_path: Path
) -> None:
    gateway = Served(tmp_path)
    if content is not None:
        (tmp_path / "token").write_text(content)
    done = gateway.run("explain", "GET", READ, "--token-file", str(tmp_path / "token"))
    assert done.returncode == 2
    assert "--token-file" in done.stderr


@pytest.mark.real
def test_a_token_of_the_real_provider_and_the_real_directory(
    one_slurm_release: SlurmRelease, identity_provider: IdentityProvider, tmp_path: Path
) -> None:
    certificates.ensure(tmp_path)
    gateway = Served(tmp_path)
    settings = settings_for(
        one_slurm_release, identity_provider, tmp_path, free_port(), free_port()
    )
    gateway.file.write_text(to_toml(merged(settings, {})))
    path = "/slurm/v0.0.38/jobs"
    code, told = explain(gateway, "GET", path, token=identity_provider.token_for("bob"))
    assert code == 0, told
    assert stage(told, "map_user")["user"] == "bob"
    assert stage(told, "map_user")["roles"] == ["user", "operator"]
    assert stage(told, "map_user")["uid"] >= 1000
    code, told = explain(gateway, "GET", path, token=identity_provider.token_for("dave"))
    assert (code, told["code"]) == (1, "user-unknown")
    code, told = explain(gateway, "GET", path, token=identity_provider.machine_token())
    assert (code, stage(told, "map_user")["user"]) == (0, "carol")


RULED: Settings = {
    "authorize": {
        "roles": {
            "user": {
                "allow": ["SUBMIT"],
                "maximum": {"time_limit": 60},
                "force_fields": {"comment": "g"},
            }
        }
    }
}


def test_the_rules_on_bodies_and_what_they_make_of_one_are_shown(tmp_path: Path) -> None:
    gateway = Served(tmp_path, RULED)
    path, file = "/slurm/v0.0.42/job/submit", tmp_path / "job.json"
    file.write_text('{"script": "#!", "job": {"time_limit": 60}}')
    asked = ("POST", path, "--body-file", str(file))
    code, told = explain(gateway, *asked, token=token_for("alice"))
    assert (code, told["verdict"]) == (0, "granted")
    shown = [one["text"] for one in told["stages"] if one["stage"] == "body rules"]
    assert "role user: caps time_limit at 60" in shown
    assert stage(told, "body rules")["body"]["job"] == {"time_limit": 60, "comment": "g"}
    file.write_text('{"script": "#!", "job": {"time_limit": 61}}')
    code, told = explain(gateway, *asked, token=token_for("alice"))
    assert (code, told["code"]) == (1, "field-forbidden")
    assert told["detail"] == "job.time_limit may be at most 60."
    assert told["rule"] == "authorize.roles.user"


def test_without_a_body_the_rules_are_told_and_not_asked(tmp_path: Path) -> None:
    gateway = Served(tmp_path, RULED)
    code, told = explain(gateway, "POST", "/slurm/v0.0.42/job/submit", token=token_for("alice"))
    assert (code, stage(told, "body rules")["asked"]) == (0, False)
    assert "--body-file" in stage(told, "body rules")["text"]


def test_a_role_that_is_not_held_from_an_address_is_named(tmp_path: Path) -> None:
    changes = merged(OPERATOR, {"authorize": {"roles": {"operator": {"networks": ["10.0.0.0/8"]}}}})
    gateway, path = Served(tmp_path, changes), "/slurmdb/v0.0.42/users"
    token = token_for("alice", level="high")
    code, told = explain(gateway, "GET", path, token=token)
    assert (code, told["code"]) == (1, "operation-unlisted")
    assert told["note"].endswith("not held: operator (source network)")
    code, told = explain(gateway, "GET", path, "--address", "10.1.2.3", token=token)
    assert (code, told["verdict"]) == (0, "granted")


def test_who_reaches_own_jobs_only_is_told_how(tmp_path: Path) -> None:
    role = {"allow": ["READ", "READ-HEAVY"], "own_jobs_only": True}
    gateway = Served(tmp_path, {"authorize": {"roles": {"user": role}}})
    code, told = explain(gateway, "GET", "/slurm/v0.0.42/jobs", token=token_for("alice"))
    assert code == 0
    assert "jobs of others are left out of the answer" in stage(told, "own jobs")["text"]
    code, told = explain(gateway, "GET", "/slurm/v0.0.42/diag", token=token_for("alice"))
    assert "own jobs" not in [one["stage"] for one in told["stages"]]
