"""Who somebody is on the cluster, at the real gateway: between a real provider, real NSS and real Slurm."""

import http.client
import pwd
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from lab.gateway import Answer, GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from lab.submission import submission

pytestmark = pytest.mark.real
StartGateway = Callable[..., GatewayProcess]
NewProvider = Callable[..., IdentityProvider]
PATIENCE_SECONDS = 60.0


def diag(gateway: GatewayProcess, release: SlurmRelease, token: str) -> Answer:
    return gateway.ask("GET", f"/slurm/{release.api_versions[0]}/diag", token)


def code_of(answer: Answer) -> str:
    return "" if answer.status == 200 else str(answer.json()["code"])


def audited_user(gateway: GatewayProcess, answer: Answer) -> str:
    return str(gateway.audit_record(answer.headers["X-Request-Id"])["user"])


def eventually(read: Callable[[], Any], wanted: object) -> None:
    """Wait until what is read is what is wanted, or fail with what it is instead."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (found := read()) != wanted:
        assert time.monotonic() < end, f"{found!r} instead of {wanted!r}"
        time.sleep(0.1)


def readyz(gateway: GatewayProcess) -> tuple[int, str]:
    parts = urlsplit(gateway.operations_url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    connection.request("GET", "/readyz")
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def test_people_without_an_account_and_users_that_are_never_acted_as_are_refused(
    one_slurm_release: SlurmRelease,
    shared_gateway: StartGateway,
    identity_provider: IdentityProvider,
) -> None:
    gateway = shared_gateway(one_slurm_release)
    for name, code in (("dave", "user-unknown"), ("root", "user-forbidden"), ("alice", "")):
        assert code_of(diag(gateway, one_slurm_release, identity_provider.token_for(name))) == code


def test_the_first_subject_keeps_a_user_over_a_restart(
    one_slurm_release: SlurmRelease,
    gateway: StartGateway,
    identity_provider: IdentityProvider,
    new_identity_provider: NewProvider,
) -> None:
    """The other alice signs in at another provider, which is trusted as well."""
    other = new_identity_provider()
    providers = (identity_provider, other)
    running = gateway(
        one_slurm_release,
        {
            "authenticate": {
                "issuers": [
                    {"issuer": one.issuer, "audiences": [one.audience], "profile": "rfc9068"}
                    for one in providers
                ]
            },
            "map_user": {
                "rules": [
                    {"issuer": one.issuer, "claim": "preferred_username", "bind": "first-use"}
                    for one in providers
                ],
                "roles": [],
            },
        },
    )
    first, second = identity_provider.token_for("alice"), other.token_for("alice")
    assert code_of(diag(running, one_slurm_release, first)) == ""
    refusal = diag(running, one_slurm_release, second)
    assert (refusal.status, code_of(refusal)) == (403, "subject-conflict")
    running.stop()
    running.start()
    assert code_of(diag(running, one_slurm_release, second)) == "subject-conflict"
    assert code_of(diag(running, one_slurm_release, first)) == ""
    assert code_of(diag(running, one_slurm_release, other.token_for("bob"))) == ""


def row(issuer: str, subject: str, user: str) -> str:
    return f'[[user]]\nissuer = "{issuer}"\nsubject = "{subject}"\nuser = "{user}"\n'


def test_a_table_is_followed_while_the_gateway_runs_and_its_mistakes_are_not(
    one_slurm_release: SlurmRelease,
    gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
) -> None:
    table, issuer = tmp_path / "users.toml", identity_provider.issuer
    table.write_text(row(issuer, "nobody-yet", "alice"))
    rules = [{"issuer": issuer, "table_file": str(table)}]
    running = gateway(one_slurm_release, {"map_user": {"rules": rules, "roles": []}})
    token = identity_provider.token_for("alice")
    refusal = diag(running, one_slurm_release, token)
    assert code_of(refusal) == "user-unmapped"
    subject = running.audit_record(refusal.headers["X-Request-Id"])["subject"]

    def user() -> str:
        answer = diag(running, one_slurm_release, token)
        return audited_user(running, answer) if answer.status == 200 else code_of(answer)

    table.write_text(row(issuer, subject, "bob"))
    eventually(user, "bob")
    table.write_text("user = 7")
    eventually(lambda: str(table) in readyz(running)[1], True)
    assert user() == "bob"
    table.write_text(row(issuer, subject, "carol"))
    eventually(user, "carol")


@pytest.fixture
def own_key(one_slurm_release: SlurmRelease, tmp_path: Path) -> Path:
    key = tmp_path / "jwt_hs256.key"
    key.write_bytes(one_slurm_release.key_file.read_bytes())
    key.chmod(0o400)
    return key


def test_an_exposed_key_stops_the_gateway_from_acting_until_it_is_safe_again(
    one_slurm_release: SlurmRelease,
    gateway: StartGateway,
    identity_provider: IdentityProvider,
    own_key: Path,
) -> None:
    running = gateway(one_slurm_release, {"credential": {"key_file": str(own_key)}})
    token = identity_provider.token_for("alice")
    assert code_of(diag(running, one_slurm_release, token)) == ""
    own_key.chmod(0o644)
    eventually(lambda: code_of(diag(running, one_slurm_release, token)), "credential-unavailable")
    status, body = readyz(running)
    assert status == 503
    assert f"chmod 0400 {own_key}" in body
    own_key.chmod(0o400)
    eventually(lambda: code_of(diag(running, one_slurm_release, token)), "")
    eventually(lambda: readyz(running)[0], 200)


def scontrol(release: SlurmRelease, *arguments: str) -> list[str]:
    return release.layout.command(("scontrol", "token", *arguments, "lifespan=300"))


@pytest.mark.parametrize(
    ("username", "impersonate"), [("username={user}", False), ("username=slurm", True)]
)
def test_two_people_with_attached_tokens_submit_as_themselves_on_every_release(
    slurm_release: SlurmRelease,
    gateway: StartGateway,
    identity_provider: IdentityProvider,
    username: str,
    impersonate: bool,
) -> None:
    """In turns, so that a connection that took one for the other would be seen."""
    running = gateway(
        slurm_release,
        {
            "credential": {
                "provider": "attach",
                "key_file": None,
                "command": scontrol(slurm_release, username),
                "impersonate": impersonate,
            }
        },
    )
    version = slurm_release.api_versions[0]
    body = submission(version, "#!/bin/sh\nexit 0\n")
    tokens = {name: identity_provider.token_for(name) for name in ("alice", "bob")}
    for name in ("alice", "bob") * 4:
        answer = running.ask("POST", f"/slurm/{version}/job/submit", tokens[name], body)
        assert answer.status == 200, answer.body
        found = running.ask("GET", f"/slurm/{version}/job/{answer.json()['job_id']}", tokens[name])
        assert pwd.getpwuid(found.json()["jobs"][0]["user_id"]).pw_name == name


def test_one_users_token_refuses_everybody_else(
    one_slurm_release: SlurmRelease,
    gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(one_slurm_release.token("alice"))
    credential = {"provider": "attach", "key_file": None, "token_file": str(file)}
    running = gateway(one_slurm_release, {"credential": credential})
    assert code_of(diag(running, one_slurm_release, identity_provider.token_for("alice"))) == ""
    refusal = diag(running, one_slurm_release, identity_provider.token_for("bob"))
    assert (refusal.status, code_of(refusal)) == (403, "credential-user-mismatch")
