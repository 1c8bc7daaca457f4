"""Rules on bodies before real releases: what is forced arrives in the job, what is too much does not."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lab.gateway import Answer, GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.slurm import SlurmRelease
from lab.submission import submission

SCRIPT = "#!/bin/sh\nsleep 1\n"
ROLE = {
    "allow": ["READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE", "JOB-WRITE-BULK"],
    "forbid_fields": ["qos"],
    "force_fields": {"comment": "through the gateway", "nice": 7},
    "maximum": {
        "time_limit": 30,
        "nodes": 1,
        "array": 10,
        "memory_per_node": 100,
        "cpus_per_task": 2,
    },
    "only_values": {"partition": ["debug"]},
    "forbid_environment": ["LD_*"],
}
FIRST_WITH_OBJECTS = 39


class Alice:
    """Alice at a gateway with the rules."""

    def __init__(self, gateway: GatewayProcess, token: str, version: str) -> None:
        self.gateway, self.token, self.version = gateway, token, version

    def ask(self, method: str, path: str, body: object = None) -> Answer:
        return self.gateway.ask(method, f"/slurm/{self.version}{path}", self.token, body)

    def submit(self, **fields: Any) -> Answer:
        return self.ask(
            "POST", "/job/submit", submission(self.version, SCRIPT, hold=True, **fields)
        )

    def submitted(self, **fields: Any) -> dict[str, Any]:
        answer = self.submit(**fields)
        assert answer.status == 200, answer.body
        job_id = answer.json()["job_id"]
        job: dict[str, Any] = self.ask("GET", f"/job/{job_id}").json()["jobs"][0]
        assert self.ask("DELETE", f"/job/{job_id}").status == 200
        return job

    def refused(self, answer: Answer) -> str:
        problem = answer.json()
        assert (answer.status, problem["code"]) == (403, "field-forbidden")
        record = self.gateway.audit_record(answer.headers["X-Request-Id"])
        assert (record["verdict"], record["rule"]) == ("denied", "authorize.roles.user")
        return str(problem["field"])


def number(value: Any) -> int:
    return int(value["number"] if isinstance(value, dict) else value)


@pytest.fixture
def alice(
    slurm_release: SlurmRelease,
    shared_gateway: Callable[..., GatewayProcess],
    identity_provider: IdentityProvider,
) -> Alice:
    at = shared_gateway(slurm_release, {"authorize": {"roles": {"user": ROLE}}})
    return Alice(at, identity_provider.token_for("alice"), slurm_release.api_versions[0])


def test_forced_fields_arrive_in_the_job_whatever_the_body_says(alice: Alice) -> None:
    for given in ({}, {"comment": "mine", "nice": 1}):
        job = alice.submitted(**given)
        assert (job["comment"], number(job["nice"])) == ("through the gateway", 7)


def test_what_is_within_the_rules_arrives_as_it_was_asked_for(alice: Alice) -> None:
    assert number(alice.submitted(time_limit=30)["time_limit"]) == 30
    if int(alice.version.rpartition(".")[2]) >= FIRST_WITH_OBJECTS:
        limit = {"set": True, "infinite": False, "number": 29}
        assert number(alice.submitted(time_limit=limit)["time_limit"]) == 29
    assert alice.submitted(partition="debug")["partition"] == "debug"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"qos": "normal"}, "job.qos"),
        ({"Qos": "normal"}, "job.Qos"),
        ({"time_limit": 31}, "job.time_limit"),
        ({"time_limit": "31"}, "job.time_limit"),
        ({"time_limit": {"set": True, "number": 31}}, "job.time_limit"),
        ({"time_limit": {"infinite": True, "number": 1}}, "job.time_limit"),
        ({"array": "0-10"}, "job.array"),
        ({"nodes": "1-2"}, "job.nodes"),
        ({"partition": "other"}, "job.partition"),
        # 24.11 and 26.05 make 65,535 CPUs of the one, and 22.05 to 26.05 give the memory of a node for the other
        ({"cpus_per_task": -1}, "job.cpus_per_task"),
        ({"memory_per_node": 0}, "job.memory_per_node"),
        ({"user_id": "0"}, "job.user_id"),
    ],
)
def test_what_is_too_much_is_refused_and_named(
    alice: Alice, fields: dict[str, Any], named: str
) -> None:
    assert alice.refused(alice.submit(**fields)) == named


def test_a_variable_that_is_not_wanted_is_refused_in_the_shape_of_the_version(alice: Alice) -> None:
    body = submission(alice.version, SCRIPT)
    environment = body["job"]["environment"]
    if isinstance(environment, list):
        environment.append("LD_PRELOAD=x.so")
    else:
        environment["LD_PRELOAD"] = "x.so"
    answer = alice.ask("POST", "/job/submit", body)
    assert alice.refused(answer) == "job.environment.LD_PRELOAD"


def test_an_update_keeps_to_the_rules(alice: Alice) -> None:
    answer = alice.submit(time_limit=20)
    job_id = answer.json()["job_id"]
    assert alice.refused(alice.ask("POST", f"/job/{job_id}", {"time_limit": 31})) == "time_limit"
    assert alice.refused(alice.ask("POST", f"/job/{job_id}", {"comment": "x"})) == "comment"
    alice.ask("POST", f"/job/{job_id}", {"time_limit": 10})  # 20.11 says 500 and does it
    job = alice.ask("GET", f"/job/{job_id}").json()["jobs"][0]
    assert (number(job["time_limit"]), job["comment"]) == (10, "through the gateway")
    assert alice.ask("DELETE", f"/job/{job_id}").status == 200


def test_slurmrestd_itself_folds_names_up_to_v0_0_38(slurm_release: SlurmRelease) -> None:
    """Why names are compared without case; later releases ignore such a name."""
    version = slurm_release.api_versions[0]
    body = submission(version, SCRIPT, hold=True, COMMENT="folded")
    status, answer = slurm_release.request("alice", "POST", f"/slurm/{version}/job/submit", body)
    assert status == 200
    path = f"/slurm/{version}/job/{json.loads(answer)['job_id']}"
    _, described = slurm_release.request("alice", "GET", path)
    folds = int(version.rpartition(".")[2]) < FIRST_WITH_OBJECTS
    assert (json.loads(described)["jobs"][0]["comment"] == "folded") is folds
    slurm_release.request("alice", "DELETE", path)
