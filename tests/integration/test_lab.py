"""The lab itself: it brings up what it says, touches nothing else, and leaves nothing behind."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import mounts
from lab.bringing_up import forget
from lab.fleet import bring_up
from lab.identity_provider import AUDIENCE, IdentityProvider
from lab.identity_provider.login import LoginError, post_form
from lab.identity_provider.provider import CLI_CLIENT, MACHINE_CLIENT
from lab.jobs import job_steps
from lab.places import CHECKOUT
from lab.processes import LabError, wait_until
from lab.releases import releases
from lab.slurm import SlurmRelease
from lab.submission import FINAL, exit_code_of, state_of, submission, user_of

pytestmark = pytest.mark.real


def submit(release: SlurmRelease, user: str, version: str, script: str, **job: Any) -> int:
    body = submission(version, f"#!/bin/sh\n{script}\n", **job)
    status, answer = release.request(user, "POST", f"/slurm/{version}/job/submit", body)
    assert status == 200, answer
    return int(json.loads(answer)["job_id"])


def job_of(release: SlurmRelease, version: str, job_id: int) -> dict[str, Any]:
    status, answer = release.request("alice", "GET", f"/slurm/{version}/job/{job_id}")
    assert status == 200, answer
    return dict(json.loads(answer)["jobs"][0])


def finished(release: SlurmRelease, version: str, job_id: int) -> dict[str, Any]:
    def is_over() -> bool:
        return state_of(job_of(release, version, job_id)) in FINAL

    wait_until(is_over, 60, f"the end of job {job_id}")
    return job_of(release, version, job_id)


def test_enough_releases_are_left_after_those_that_moved(
    every_release: list[SlurmRelease],
) -> None:
    assert bring_up(every_release) == 0


def test_the_installed_slurm_is_the_release_that_the_catalogue_names(
    slurm_release: SlurmRelease,
) -> None:
    assert slurm_release.run("scontrol", "--version").startswith(
        f"slurm-wlm {slurm_release.release.slurm}."
    )


@pytest.mark.parametrize("user", ["alice", "carol"])
def test_a_job_runs_as_the_user_whose_token_it_came_with(
    slurm_release: SlurmRelease, user: str
) -> None:
    """In every version that the catalogue lists; carol has no association and may submit nevertheless."""
    for version in slurm_release.api_versions:
        output = f"/tmp/lab-test-{uuid.uuid4().hex}"  # noqa: S108 - a job's output, not ours
        job_id = submit(slurm_release, user, version, "id -un; exit 7", output=output)
        job = finished(slurm_release, version, job_id)
        assert (state_of(job), exit_code_of(job), user_of(job)) == ("FAILED", 7, user)
        wait_until(slurm_release.path_of(output).exists, 10, "the job's output")
        assert slurm_release.owner_of(output) == user
        assert slurm_release.path_of(output).read_text() == f"{user}\n"


def test_the_socket_answers_like_the_port(slurm_release: SlurmRelease) -> None:
    curl = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"]
    headers = ["-H", "X-SLURM-USER-NAME: alice", "-H", "@-"]
    target = f"http://localhost/slurm/{slurm_release.api_versions[0]}/diag"
    done = subprocess.run(
        [*curl, *headers, "--unix-socket", slurm_release.socket, target],
        input=f"X-SLURM-USER-TOKEN: {slurm_release.token('alice')}",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "200"


def test_slurmrestd_refuses_a_token_of_another_key(slurm_release: SlurmRelease) -> None:
    """Otherwise every other test of who one is would pass with no key at all."""
    assert slurm_release.serves_reads()
    forged = SlurmRelease(slurm_release.release)
    forged.token = lambda *_: slurm_release.token("alice")[:-8] + "AAAAAAAA"  # type: ignore[method-assign]
    assert not forged.serves_reads()


def test_only_alice_and_bob_have_an_association(slurm_release: SlurmRelease) -> None:
    known = slurm_release.run("sacctmgr", "-n", "list", "association", "format=user").split()
    assert set(known) == {"root", "alice", "bob"}


def test_a_second_up_starts_nothing(slurm_release: SlurmRelease) -> None:
    before = {name: slurm_release.pid_of(name) for name in slurm_release.expected()}
    assert slurm_release.up() == []
    assert {name: slurm_release.pid_of(name) for name in slurm_release.expected()} == before


@pytest.mark.disturbs_slurm
@pytest.mark.parametrize("daemon", ["slurmctld", "slurmrestd"])
def test_up_starts_only_the_daemon_that_died(slurm_release: SlurmRelease, daemon: str) -> None:
    others = {
        name: slurm_release.pid_of(name) for name in slurm_release.expected() if name != daemon
    }
    assert slurm_release.kill(daemon)
    assert slurm_release.pid_of(daemon) is None
    assert not slurm_release.is_up()
    assert slurm_release.up() == [daemon]
    assert slurm_release.serves_reads()
    assert {name: slurm_release.pid_of(name) for name in others} == others


@pytest.mark.disturbs_slurm
def test_stop_and_start_bring_a_daemon_back_with_its_jobs(slurm_release: SlurmRelease) -> None:
    version = slurm_release.api_versions[0]
    job_id = submit(slurm_release, "bob", version, "true", name="held", hold=True)
    assert slurm_release.stop("slurmctld")
    assert not slurm_release.stop("slurmctld")
    assert slurm_release.start("slurmctld")
    assert not slurm_release.start("slurmctld")
    assert state_of(job_of(slurm_release, version, job_id)) == "PENDING"
    slurm_release.run("scancel", str(job_id), user="bob")


def test_a_failing_command_says_what_slurm_said(slurm_release: SlurmRelease) -> None:
    with pytest.raises(LabError, match=r"scontrol show job 999999: exit code 1: .*Invalid job id"):
        slurm_release.run("scontrol", "show", "job", "999999")


@pytest.fixture
def second_checkout(tmp_path: Path, real_things: None) -> Iterator[SlurmRelease]:
    """The demo's release once more, as another checkout on this machine would have it.

    pytest's folders are closed to other users and long, as a checkout below /root may be.
    """
    release = SlurmRelease(releases()[0], tmp_path / ("rather-long-name-for-a-folder-" * 2))
    yield release
    release.down()
    forget(release.layout)


def _up(release: SlurmRelease, started: Any) -> None:
    started.put(release.up())


def test_two_checkouts_run_at_the_same_time_and_only_ones_own_is_stopped(
    second_checkout: SlurmRelease, one_slurm_release: SlurmRelease
) -> None:
    """Three processes bring it up at once: one of them starts everything, the others wait and start nothing."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    workers = [context.Process(target=_up, args=(second_checkout, answers)) for _ in range(3)]
    for worker in workers:
        worker.start()
    started = sorted(answers.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join(30)
    assert started == [[], [], second_checkout.expected()]
    assert not set(second_checkout.ports.values()) & set(one_slurm_release.ports.values())

    version = second_checkout.api_versions[0]
    job_id = submit(second_checkout, "alice", version, "sleep 300 & sleep 300")
    wait_until(lambda: bool(job_steps(second_checkout.layout)), 30, "the job runs")
    assert state_of(job_of(second_checkout, version, job_id)) == "RUNNING"

    others = [one_slurm_release.pid_of(name) for name in one_slurm_release.expected()]
    assert sorted(second_checkout.down()) == sorted(second_checkout.expected())
    assert second_checkout.running() == []
    assert job_steps(second_checkout.layout) == []
    assert not second_checkout.layout.inside.joinpath("etc").exists() or not mounts.mounts_below(
        second_checkout.layout.inside
    )
    assert [one_slurm_release.pid_of(name) for name in one_slurm_release.expected()] == others
    assert second_checkout.up() == second_checkout.expected(), "it starts again from its state"


def unverified_claims(token: str) -> dict[str, Any]:
    body = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(body + "==")))


def unverified_header(token: str) -> dict[str, Any]:
    return dict(json.loads(base64.urlsafe_b64decode(token.split(".", maxsplit=1)[0] + "==")))


@pytest.mark.parametrize(
    ("user", "groups"),
    [("alice", ["hpc-users"]), ("bob", ["hpc-users", "hpc-operators"]), ("root", [])],
)
def test_a_login_gives_an_access_token_for_the_gateway(
    identity_provider: IdentityProvider, user: str, groups: list[str]
) -> None:
    token = identity_provider.token_for(user)
    claims = unverified_claims(token)
    assert unverified_header(token)["typ"] == "at+jwt"
    assert unverified_header(token)["alg"] == "RS256"
    assert (claims["iss"], claims["aud"]) == (identity_provider.issuer, AUDIENCE)
    assert claims["client_id"] == CLI_CLIENT
    assert (claims["preferred_username"], claims["groups"]) == (user, groups)
    assert claims["email"] == f"{user}@example.org"
    assert claims["sub"] != user


def test_a_machine_is_its_own_subject(identity_provider: IdentityProvider) -> None:
    claims = unverified_claims(identity_provider.machine_token())
    assert claims["sub"] == claims["client_id"] == MACHINE_CLIENT
    assert "preferred_username" not in claims


def test_nobody_logs_in_under_an_unknown_name(identity_provider: IdentityProvider) -> None:
    with pytest.raises(LoginError, match="403"):
        identity_provider.token_for("mallory")


def test_a_login_without_a_code_challenge_is_refused(identity_provider: IdentityProvider) -> None:
    form = {
        "grant_type": "authorization_code",
        "client_id": CLI_CLIENT,
        "code": "guessed",
        "redirect_uri": "http://127.0.0.1/callback",
    }
    with pytest.raises(LoginError, match="400"):
        post_form(f"{identity_provider.issuer}/token", form)


def test_a_device_gets_its_codes(identity_provider: IdentityProvider) -> None:
    form = {"client_id": CLI_CLIENT, "scope": "openid slurm"}
    answer = post_form(f"{identity_provider.issuer}/device/auth", form)
    assert answer["verification_uri"] == f"{identity_provider.issuer}/device"
    assert {"device_code", "user_code", "interval"} <= set(answer) | {"interval"}


def test_a_refresh_token_works_once(identity_provider: IdentityProvider) -> None:
    form = {
        "grant_type": "refresh_token",
        "client_id": CLI_CLIENT,
        "refresh_token": identity_provider.tokens_for("alice")["refresh_token"],
    }
    again = post_form(f"{identity_provider.issuer}/token", form)
    assert unverified_claims(again["access_token"])["preferred_username"] == "alice"
    with pytest.raises(LoginError, match="invalid_grant"):
        post_form(f"{identity_provider.issuer}/token", form)


def published(provider: IdentityProvider) -> list[str]:
    answer = subprocess.run(
        ["curl", "-s", provider.jwks_url], capture_output=True, check=True, text=True
    )
    return [key["kid"] for key in json.loads(answer.stdout)["keys"]]


def test_rotation_signs_with_a_new_key_and_keeps_or_withdraws_the_old_one(
    new_identity_provider: Callable[..., IdentityProvider],
) -> None:
    provider = new_identity_provider()
    first = unverified_header(provider.token_for("alice"))["kid"]
    second = provider.rotate_keys()
    assert unverified_header(provider.token_for("alice"))["kid"] == second != first
    assert published(provider) == [second, first]
    third = provider.rotate_keys(withdraw_old=True)
    assert published(provider) == [third]


def test_tokens_live_as_long_as_they_are_told_to(
    new_identity_provider: Callable[..., IdentityProvider],
) -> None:
    provider = new_identity_provider(access_token_lifetime_seconds=7)
    claims = unverified_claims(provider.token_for("alice"))
    assert claims["exp"] - claims["iat"] == 7


def test_the_command_line_tells_the_state_of_every_release(one_slurm_release: SlurmRelease) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab", "status"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"]},
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(releases())
    assert f"running at {one_slurm_release.url}" in lines[0]
