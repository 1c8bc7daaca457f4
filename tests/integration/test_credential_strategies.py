"""What the credential strategies issue is taken by real Slurm, and acts as the mapped user alone."""

import http.client
import json
import os
import pwd
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.denial import Denied, Reason
from gateway.edges.directory import NssDirectory, NssIds
from gateway.edges.few_threads import FewThreads
from gateway.edges.run_command import RunCommand, minimal_environment
from gateway.edges.signing_key import SigningKeyFile
from gateway.edges.token_source import CommandTokens, FileTokens
from gateway.model import ClusterUser, UpstreamCredential
from gateway.pipeline import IssueCredential
from gateway.stages.credential import Attach, Impersonate, Mint, MintTerms
from gateway.stages.map_user import MapUser
from gateway.users.rules import FromClaim, UserRule
from lab.slurm import SlurmRelease
from lab.submission import FINAL, state_of, submission
from tests.fakes import ISSUER, make_identity

pytestmark = pytest.mark.real
TERMS = MintTerms(120, {ISSUER: 30}, 'Bearer error="invalid_token"', frozenset({"slurm"}))
RUN_SECONDS = 60.0


def user_of(name: str) -> ClusterUser:
    entry = pwd.getpwnam(name)
    return ClusterUser(name, ("user",), uid=entry.pw_uid, gid=entry.pw_gid)


def key_of(path: Path) -> SigningKeyFile:
    return SigningKeyFile(
        path,
        FewThreads(1),
        group_readable=False,
        credentials_directory=None,
        own_uid=os.geteuid(),
    )


def mint(release: SlurmRelease, *, with_ids: bool = False) -> Mint:
    threads = FewThreads(2)
    directory = NssDirectory(threads, limit_seconds=5, cache_seconds=60)
    ids = NssIds(directory, threads, limit_seconds=5) if with_ids else None
    return Mint(key_of(release.key_file), TERMS, time.time, ids)


async def issue(strategy: IssueCredential, user: str = "alice") -> UpstreamCredential:
    identity = make_identity(expires=time.time() + 3600)
    return await strategy(identity, user_of(user), None)


def send(
    release: SlurmRelease,
    credential: UpstreamCredential,
    method: str,
    path: str,
    body: object = None,
) -> tuple[int, Any]:
    """One request as forward makes it: the name and the token, always both."""
    parts = urlsplit(release.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
    headers = {
        "X-SLURM-USER-NAME": credential.user,
        "X-SLURM-USER-TOKEN": credential.token.reveal,
        "Accept": "application/json",
    }
    payload = None if body is None else json.dumps(body).encode()
    if payload is not None:
        headers["Content-Type"] = "application/json"
    try:
        connection.request(method, f"/slurm/{release.api_versions[0]}{path}", payload, headers)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text
    finally:
        connection.close()


def run_job(release: SlurmRelease, credential: UpstreamCredential) -> dict[str, Any]:
    """Submit, wait for COMPLETED, and return the job as Slurm describes it."""
    body = submission(release.api_versions[0], "#!/bin/sh\nid -un\n")
    status, answer = send(release, credential, "POST", "/job/submit", body)
    assert status == 200, answer
    end = time.monotonic() + RUN_SECONDS
    while True:
        status, found = send(release, credential, "GET", f"/job/{answer['job_id']}")
        assert status == 200, found
        job: dict[str, Any] = found["jobs"][0]
        if state_of(job) in FINAL:
            assert state_of(job) == "COMPLETED"
            return job
        assert time.monotonic() < end, state_of(job)
        time.sleep(0.25)


async def test_a_minted_token_is_taken_by_every_release(slurm_release: SlurmRelease) -> None:
    status, answer = send(slurm_release, await issue(mint(slurm_release)), "GET", "/diag")
    assert (status, answer["errors"]) == (200, [])


async def test_a_minted_token_under_another_name_is_refused_by_every_release(
    slurm_release: SlurmRelease,
) -> None:
    """The control of the test above, and why the name header is always ours."""
    issued = await issue(mint(slurm_release))
    for name in ("bob", "root"):
        forged = UpstreamCredential(name, issued.token)
        assert send(slurm_release, forged, "GET", "/diag")[0] in {500, 511}


async def test_a_token_minted_with_another_key_is_refused(
    one_slurm_release: SlurmRelease, tmp_path: Path
) -> None:
    (tmp_path / "key").write_bytes(os.urandom(32))
    (tmp_path / "key").chmod(0o400)
    issued = await issue(Mint(key_of(tmp_path / "key"), TERMS, time.time))
    assert send(one_slurm_release, issued, "GET", "/diag")[0] == 500


async def test_the_ids_in_a_token_disturb_no_release(slurm_release: SlurmRelease) -> None:
    issued = await issue(mint(slurm_release, with_ids=True))
    assert send(slurm_release, issued, "GET", "/diag")[0] == 200


async def test_a_job_under_a_minted_token_runs_as_the_mapped_user(
    one_slurm_release: SlurmRelease,
) -> None:
    job = run_job(one_slurm_release, await issue(mint(one_slurm_release), "bob"))
    assert pwd.getpwuid(job["user_id"]).pw_name == "bob"


def scontrol(release: SlurmRelease, *arguments: str) -> CommandTokens:
    """As root on the machine of slurmctld, where scontrol makes tokens for everybody."""
    command = release.layout.command(("scontrol", "token", *arguments))
    run = RunCommand(minimal_environment(os.environ), limit_seconds=20)
    return CommandTokens(tuple(command), run, refresh_seconds=30)


async def test_scontrol_makes_each_user_a_token_of_its_own(
    one_slurm_release: SlurmRelease,
) -> None:
    strategy = Attach(scontrol(one_slurm_release, "username={user}", "lifespan=300"), time.time)
    for name in ("alice", "bob"):
        issued = await issue(strategy, name)
        job = run_job(one_slurm_release, issued)
        assert pwd.getpwuid(job["user_id"]).pw_name == name
        assert (await issue(strategy, name)).token is issued.token


async def test_one_users_token_in_a_file_serves_that_user_alone(
    one_slurm_release: SlurmRelease, tmp_path: Path
) -> None:
    printed = one_slurm_release.run("scontrol", "token", "username=alice", "lifespan=300")
    (tmp_path / "token").write_text(printed)
    (tmp_path / "token").chmod(0o600)
    strategy = Attach(FileTokens(str(tmp_path / "token"), FewThreads(1)), time.time)
    assert send(one_slurm_release, await issue(strategy), "GET", "/diag")[0] == 200
    with pytest.raises(Denied) as caught:
        await issue(strategy, "bob")
    assert caught.value.reason is Reason.CREDENTIAL_USER_MISMATCH


async def test_a_scontrol_that_cannot_make_a_token_is_503_and_says_why(
    one_slurm_release: SlurmRelease,
) -> None:
    """alice asks for bob's token, which Slurm gives to root and SlurmUser only."""
    command = one_slurm_release.layout.command(("scontrol", "token", "username={user}"), "alice")
    run = RunCommand(minimal_environment(os.environ), limit_seconds=20)
    tokens = CommandTokens(tuple(command), run, refresh_seconds=30)
    with pytest.raises(Denied) as caught:
        await issue(Attach(tokens, time.time), "bob")
    assert caught.value.reason is Reason.CREDENTIAL_UNAVAILABLE
    assert "ended with status 1" in caught.value.note


async def test_one_slurm_user_token_runs_each_job_as_the_named_user(
    one_slurm_release: SlurmRelease,
) -> None:
    tokens = scontrol(one_slurm_release, "username=slurm", "lifespan=300")
    strategy = Impersonate(tokens, time.time, frozenset({"slurm"}))
    alice, bob = await issue(strategy, "alice"), await issue(strategy, "bob")
    assert alice.token.reveal == bob.token.reveal
    for issued in (alice, bob):
        job = run_job(one_slurm_release, issued)
        assert pwd.getpwuid(job["user_id"]).pw_name == issued.user


def restart(release: SlurmRelease) -> None:
    for daemon in ("slurmctld", "slurmdbd"):
        release.stop(daemon)
    for daemon in ("slurmdbd", "slurmctld"):
        release.start(daemon)


@pytest.fixture
def pem_in_slurm(one_slurm_release: SlurmRelease, tmp_path: Path) -> Iterator[Path]:
    """A key as old Slurm pages make it (openssl genrsa) in slurmctld and slurmdbd, and a copy."""
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    stored = one_slurm_release.path_of(one_slurm_release.layout.inside / "keys/jwt_hs256.key")
    usual = stored.read_bytes()
    copy = tmp_path / "pem"
    copy.write_bytes(pem)
    copy.chmod(0o400)
    try:
        stored.write_bytes(pem)
        restart(one_slurm_release)
        yield copy
    finally:
        stored.write_bytes(usual)
        restart(one_slurm_release)


@pytest.mark.disturbs_slurm
async def test_a_pem_key_is_taken_byte_for_byte_as_slurm_takes_it(
    one_slurm_release: SlurmRelease, pem_in_slurm: Path
) -> None:
    issued = await issue(Mint(key_of(pem_in_slurm), TERMS, time.time))
    assert send(one_slurm_release, issued, "GET", "/diag")[0] == 200
    old = await issue(mint(one_slurm_release))
    assert send(one_slurm_release, old, "GET", "/diag")[0] == 500


@pytest.fixture
def slurm_without_directory(slurm_release: SlurmRelease) -> Iterator[SlurmRelease]:
    """A slurmctld and slurmdbd that take users from tokens alone, as AWS PCS has them."""
    etc = slurm_release.layout.outside / "etc"
    files = [etc / "slurm.conf", etc / "slurmdbd.conf"]
    usual = [file.read_text() for file in files]
    try:
        for file, text in zip(files, usual, strict=True):
            file.write_text(
                text.replace("jwt_hs256.key\n", "jwt_hs256.key,use_jwt_client_ids_only\n")
            )
        restart(slurm_release)
        yield slurm_release
    finally:
        for file, text in zip(files, usual, strict=True):
            file.write_text(text)
        restart(slurm_release)


@pytest.mark.disturbs_slurm
@pytest.mark.parametrize("slurm_release", ["sid"], indirect=True)
async def test_a_slurm_that_takes_users_from_tokens_alone_takes_ours_with_ids_only(
    slurm_without_directory: SlurmRelease,
) -> None:
    release = slurm_without_directory
    job = run_job(release, await issue(mint(release, with_ids=True)))
    assert pwd.getpwuid(job["user_id"]).pw_name == "alice"
    status, _ = send(release, await issue(mint(release)), "GET", "/jobs")
    assert status == 511


async def test_the_machines_own_directory_admits_its_people_and_nobody_else(
    one_slurm_release: SlurmRelease,
) -> None:
    """dave signs in at the provider but has no account; slurm is the daemon's own user."""
    stage = MapUser(
        [UserRule("map_user.rules[0]", ISSUER, {}, FromClaim("preferred_username"))],
        (),
        directory=NssDirectory(FewThreads(2), limit_seconds=5, cache_seconds=60),
        bindings=None,
        forbidden_users=("root", "slurm"),
        minimum_uid=1000,
        must_exist=True,
        monotonic=time.monotonic,
    )
    answers: dict[str, object] = {}
    for name in ("alice", "bob", "dave", "root", "slurm", "munge", "nobody"):
        try:
            answers[name] = (await stage(make_identity(claims={"preferred_username": name}))).uid
        except Denied as denied:
            answers[name] = denied.reason
    assert answers == {
        "alice": pwd.getpwnam("alice").pw_uid,
        "bob": pwd.getpwnam("bob").pw_uid,
        "dave": Reason.USER_UNKNOWN,
        "root": Reason.USER_FORBIDDEN,
        "slurm": Reason.USER_FORBIDDEN,
        "munge": Reason.USER_FORBIDDEN,
        "nobody": Reason.USER_FORBIDDEN,
    }
