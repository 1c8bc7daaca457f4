"""A Slurm token that the gateway hands out serves Slurm's own commands as its user, on every real release."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.gateway import GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from tests.integration.at_terminal import Terminal
from tests.integration.conftest import StartGateway

FOLDER = "/tmp"  # noqa: S108 (the job's, which every user may write to)
CHANGES = {"authorize": {"roles": {"operator": {"allow": ["MINT-TOKEN"]}}}}
ALICE_TOO = {
    "map_user": {"roles": []},
    "authorize": {"roles": {"user": {"allow": ["READ", "READ-HEAVY", "MINT-TOKEN"]}}},
}


@pytest.fixture
def site(slurm_release: SlurmRelease, shared_gateway: StartGateway) -> GatewayProcess:
    return shared_gateway(slurm_release, ALICE_TOO)


@pytest.fixture
def terminal(tmp_path: Path, site: GatewayProcess, identity_provider: IdentityProvider) -> Terminal:
    token = identity_provider.token_for("alice")
    environment = {"SLURM_GATEWAY_URL": site.url, "SLURM_GATEWAY_TOKEN": token}
    return Terminal(tmp_path / "home", site.ca_file, environment)


@pytest.fixture
def held(slurm_release: SlurmRelease) -> Iterator[str]:
    """A job of alice's that waits."""
    arguments = ("--parsable", "-H", "-D", FOLDER, "-o", "/dev/null", "--wrap", "true")
    job_id = slurm_release.run("sbatch", *arguments, user="alice").strip().split(";")[0]
    yield job_id
    slurm_release.run("scancel", job_id)


def native(
    release: SlurmRelease, line: str, *command: str, user: str
) -> subprocess.CompletedProcess[str]:
    """A command of Slurm's in a shell that has read the line; the token is on no command line."""
    wrapped = ["sh", "-c", 'eval "$(cat)"; exec "$@"', "sh", *command]
    return subprocess.run(
        release.layout.command(wrapped, user),
        input=line,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_slurms_own_commands_are_the_tokens_user(
    terminal: Terminal, slurm_release: SlurmRelease, site: GatewayProcess, held: str
) -> None:
    """Typed by another user of the machine, so that it is the token that counts."""
    done = terminal.type("slurm-token")
    assert done.exit_code == 0, done
    assert done.stdout.startswith("export SLURM_JWT=")
    refused = native(slurm_release, "", "scancel", "-v", held, user="carol")
    assert "denied" in refused.stderr.lower(), refused
    shown = native(slurm_release, done.stdout, "squeue", "-h", "-j", held, "-o", "%u", user="carol")
    assert shown.stdout.strip() == "alice", shown
    native(slurm_release, done.stdout, "scancel", held, user="carol")
    state = slurm_release.run("squeue", "-h", "-t", "all", "-j", held, "-o", "%T").strip()
    assert state == "CANCELLED"
    token = done.stdout.split("=", 1)[1].strip()
    assert token not in site.audit_file.read_text()
    assert token not in site.log.read_text()
    (record,) = [one for one in site.audit_records() if one["operation"].endswith("slurm-token")]
    assert record["user"] == "alice"
    assert "a Slurm token was handed out" in record["note"]


def test_sbatch_submits_with_it(terminal: Terminal, slurm_release: SlurmRelease) -> None:
    line = terminal.type("slurm-token").stdout
    arguments = ("--parsable", "-H", "-D", FOLDER, "-o", "/dev/null", "--wrap", "true")
    done = native(slurm_release, line, "sbatch", *arguments, user="alice")
    assert done.returncode == 0, done
    job_id = done.stdout.strip().split(";")[0]
    assert "UserId=alice(" in slurm_release.run("scontrol", "show", "job", job_id)
    slurm_release.run("scancel", job_id)


def test_the_gateway_refuses_whoever_may_not_have_one(
    one_slurm_release: SlurmRelease,
    gateway: StartGateway,
    identity_provider: IdentityProvider,
    tmp_path: Path,
) -> None:
    site = gateway(one_slurm_release, CHANGES)
    for user, code in (("alice", "operation-unlisted"), ("root", "user-forbidden")):
        token = identity_provider.token_for(user)
        environment = {"SLURM_GATEWAY_URL": site.url, "SLURM_GATEWAY_TOKEN": token}
        done = Terminal(tmp_path / user, site.ca_file, environment).type("slurm-token", "--json")
        assert (done.exit_code, done.stdout) == (77, "")
        assert json.loads(done.stderr)["code"] == code
    token = identity_provider.token_for("bob")
    environment = {"SLURM_GATEWAY_URL": site.url, "SLURM_GATEWAY_TOKEN": token}
    given = Terminal(tmp_path / "bob", site.ca_file, environment).type("slurm-token", "--json")
    assert given.json()["user"] == "bob"


def test_whoami_says_the_slurm_user_and_me_means_it(
    terminal: Terminal, slurm_release: SlurmRelease, held: str
) -> None:
    """Also on the release that gives numbers of users only."""
    told = terminal.type("whoami", "--json")
    assert told.exit_code == 0, told
    assert (told.json()["slurm_user"], told.json()["roles"]) == ("alice", ["user"])
    mine = terminal.type("jobs", "--me", "--json")
    assert held in {str(one["job_id"]) for one in mine.json()}, mine.stderr
    assert {one["user_id"] for one in mine.json()} == {told.json()["uid"]}
