"""The main job on every real release: two ordinary users, each as the Slurm user they are, and nothing else."""

import pwd
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lab.gateway import Answer, GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from lab.submission import FINAL, state_of, submission

SharedGateway = Callable[[SlurmRelease], GatewayProcess]
RUN_SECONDS = 60.0
LOAD_REQUESTS = 40


class Person:
    """One user with a token of the identity provider, at one gateway."""

    def __init__(self, name: str, token: str, gateway: GatewayProcess, api_version: str) -> None:
        self.name, self.token, self.gateway = name, token, gateway
        self.api_version = api_version

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        target = f"/slurm/{self.api_version}{path}"
        sent = {name.replace("__", "-"): value for name, value in headers.items()}
        return self.gateway.ask(method, target, self.token, body, sent)

    def submit(self, script: str, **fields: Any) -> int:
        answer = self.ask("POST", "/job/submit", submission(self.api_version, script, **fields))
        assert answer.status == 200, answer.body
        return int(answer.json()["job_id"])

    def job(self, job_id: int) -> dict[str, Any]:
        answer = self.ask("GET", f"/job/{job_id}")
        assert answer.status == 200, answer.body
        job: dict[str, Any] = answer.json()["jobs"][0]
        return job

    def owner_of(self, job_id: int) -> str:
        """By number: 20.11 leaves the name empty."""
        return pwd.getpwuid(self.job(job_id)["user_id"]).pw_name

    def wait(self, job_id: int, *states: str) -> dict[str, Any]:
        deadline = time.monotonic() + RUN_SECONDS
        while state_of(job := self.job(job_id)) not in states:
            assert time.monotonic() < deadline, f"still {state_of(job)}"
            assert state_of(job) not in FINAL, f"ended as {state_of(job)}"
            time.sleep(0.25)
        return job


@pytest.fixture
def at_gateway(
    slurm_release: SlurmRelease, shared_gateway: SharedGateway, identity_provider: IdentityProvider
) -> GatewayProcess:
    return shared_gateway(slurm_release)


@pytest.fixture
def alice(
    slurm_release: SlurmRelease, at_gateway: GatewayProcess, identity_provider: IdentityProvider
) -> Person:
    token = identity_provider.token_for("alice")
    return Person("alice", token, at_gateway, slurm_release.api_versions[0])


@pytest.fixture
def bob(
    slurm_release: SlurmRelease, at_gateway: GatewayProcess, identity_provider: IdentityProvider
) -> Person:
    token = identity_provider.token_for("bob")
    return Person("bob", token, at_gateway, slurm_release.api_versions[0])


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_job_runs_to_its_end_as_the_mapped_user(
    name: str, slurm_release: SlurmRelease, request: pytest.FixtureRequest
) -> None:
    """Submitted, listed, described, COMPLETED, its output owned by the user, and all of it in the audit."""
    person: Person = request.getfixturevalue(name)
    output = f"/tmp/slurm-gateway-{uuid.uuid4().hex}"  # noqa: S108 (the job's user writes it)
    body = submission(
        person.api_version, "#!/bin/sh\necho ran as $(id -un)\n", output=output, name="main-job"
    )
    answer = person.ask("POST", "/job/submit", body)
    assert answer.status == 200, answer.body
    job_id = int(answer.json()["job_id"])
    person.wait(job_id, "COMPLETED")
    assert person.owner_of(job_id) == person.name
    listed = person.ask("GET", "/jobs").json()["jobs"]
    assert job_id in {entry["job_id"] for entry in listed}
    written = slurm_release.path_of(output)
    assert written.read_text() == f"ran as {person.name}\n"
    assert slurm_release.owner_of(output) == person.name
    written.unlink()
    record = person.gateway.audit_record(answer.headers["X-Request-Id"])
    assert (record["user"], record["verdict"], record["status"]) == (person.name, "granted", 200)
    assert record["operation"] == "POST /slurm/*/job/submit"
    assert record["job_ids"] == [str(job_id)]
    assert len(record["body_sha256"]) == 64
    assert record["complete"] is True


def test_an_owner_updates_and_cancels_and_nobody_else_does(alice: Person, bob: Person) -> None:
    """24.11 and 26.05 answer 200 to a cancel that they refuse; the audit has Slurm's own error."""
    job_id = alice.submit("#!/bin/sh\nsleep 300\n", hold=True)
    refused = bob.ask("DELETE", f"/job/{job_id}")
    record = bob.gateway.audit_record(refused.headers["X-Request-Id"])
    assert record["user"] == "bob"
    assert record["job_ids"] == [str(job_id)]
    assert state_of(alice.job(job_id)) == "PENDING"
    updated = bob.ask("POST", f"/job/{job_id}", {"comment": "of bob"})
    assert updated.status >= 400
    assert not alice.job(job_id)["comment"]
    alice.ask("POST", f"/job/{job_id}", {"comment": "of alice"})  # 20.11 says 500 and does it
    assert alice.job(job_id)["comment"] == "of alice"
    assert alice.ask("DELETE", f"/job/{job_id}").status == 200
    alice.wait(job_id, "CANCELLED")


def test_slurms_own_refusal_of_a_cancel_is_in_the_audit(alice: Person, bob: Person) -> None:
    job_id = alice.submit("#!/bin/sh\nsleep 300\n", hold=True)
    answer = bob.ask("DELETE", f"/job/{job_id}")
    record = bob.gateway.audit_record(answer.headers["X-Request-Id"])
    alice.ask("DELETE", f"/job/{job_id}")
    if alice.api_version == "v0.0.36":  # 20.11 has a sentence for it and the number 0
        assert record["status"] == 500
    else:
        assert record["slurm_errors"] == ["2002"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/reconfigure"),
        ("POST", "/node/{host}"),
        ("DELETE", "/jobs"),
        ("GET", "/nothing"),
        ("GET", "/job/1/../../diag"),
    ],
)
def test_what_is_not_listed_is_refused_by_the_gateway_itself(
    alice: Person, method: str, path: str
) -> None:
    answer = alice.ask(method, path.replace("{host}", "node1"))
    assert answer.status in (400, 403)
    assert answer.json()["code"] in ("operation-unlisted", "target-malformed")
    record = alice.gateway.audit_record(answer.headers["X-Request-Id"])
    assert record["verdict"] == "denied"
    assert record["upstream_ms"] == 0


def test_forged_identity_headers_change_nothing(alice: Person, slurm_release: SlurmRelease) -> None:
    """In every spelling, and named by Connection so that a proxy would drop its own."""
    forged = {
        "X-SLURM-USER-NAME": "bob",
        "x-slurm-user-token": slurm_release.token("bob"),
        "X_SLURM_USER_NAME": "bob",
        "Connection": "x-slurm-user-name, x-slurm-user-token, keep-alive",
        "X-Forwarded-User": "bob",
    }
    body = submission(alice.api_version, "#!/bin/sh\ntrue\n", hold=True)
    target = f"/slurm/{alice.api_version}/job/submit"
    answer = alice.gateway.ask("POST", target, alice.token, body, forged)
    assert answer.status == 200, answer.body
    job_id = int(answer.json()["job_id"])
    assert alice.owner_of(job_id) == "alice"
    alice.ask("DELETE", f"/job/{job_id}")


def test_users_without_an_account_and_root_never_get_through(
    at_gateway: GatewayProcess, identity_provider: IdentityProvider, slurm_release: SlurmRelease
) -> None:
    target = f"/slurm/{slurm_release.api_versions[0]}/jobs"
    for name, code in (("dave", "user-unknown"), ("root", "user-forbidden")):
        answer = at_gateway.ask("GET", target, identity_provider.token_for(name))
        assert (answer.status, answer.json()["code"]) == (403, code)


def test_two_users_at_once_never_see_each_others_answers(alice: Person, bob: Person) -> None:
    """Each asks only for a job of their own, many at a time; every answer must be theirs."""
    mine = {
        person.name: person.submit("#!/bin/sh\nsleep 300\n", hold=True, name=f"of-{person.name}")
        for person in (alice, bob)
    }

    def look(number: int) -> bool:
        person = alice if number % 2 else bob
        return bool(person.job(mine[person.name])["name"] == f"of-{person.name}")

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(look, range(LOAD_REQUESTS)))
    for person in (alice, bob):
        person.ask("DELETE", f"/job/{mine[person.name]}")
    assert seen == [True] * LOAD_REQUESTS


def test_two_users_submit_at_once_and_every_job_has_its_own_owner(
    alice: Person, bob: Person
) -> None:
    """20.11 authenticates a kept connection only once: a pool that shares one would mix owners."""

    def submit(number: int) -> tuple[Person, int]:
        person = alice if number % 2 else bob
        return person, person.submit("#!/bin/sh\ntrue\n", hold=True, name=f"of-{person.name}")

    with ThreadPoolExecutor(8) as pool:
        submitted = list(pool.map(submit, range(24)))
    owners = [(person.name, person.owner_of(job_id)) for person, job_id in submitted]
    for person, job_id in submitted:
        person.ask("DELETE", f"/job/{job_id}")
    assert [asked for asked, _ in owners] == [owner for _, owner in owners]
