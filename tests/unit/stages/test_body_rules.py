"""Roles on one body: whose rules count, what is forced, what is required; and where the work is done."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.spool import memory_body
from gateway.model import Admission, AuthorizedCall, Target
from gateway.slurm_api import read_catalogue
from gateway.slurm_api.fields import PRIVILEGED
from gateway.slurm_api.policy import Policy, parse_policy
from gateway.stages.authorize import Authorize
from gateway.stages.body_rules import BodyRules
from tests.fakes import FakeLease, make_identity, make_request, make_user
from tests.roles import Rules

T = TypeVar("T")
CATALOGUE = read_catalogue()
SUBMIT = ("POST", "/slurm/v0.0.42/job/submit")
OLD_SUBMIT = ("POST", "/slurm/v0.0.38/job/submit")
UPDATE = ("POST", "/slurm/v0.0.42/job/7")


class CountedThreads:
    """Runs at once, and says how often."""

    def __init__(self, error: Exception | None = None) -> None:
        self.runs = 0
        self.error = error

    async def run(self, seconds: float, function: Callable[[], T]) -> T:
        self.runs += 1
        if self.error is not None:
            raise self.error
        return function()


class World:
    """A policy of these roles and everything that a body meets."""

    def __init__(self, **roles: Rules) -> None:
        self.threads = CountedThreads()
        self.policy, problems = parse_policy(roles, CATALOGUE)
        assert problems == []
        by_role = {name: role.fields for name, role in self.policy.roles.items()}
        self.stage = BodyRules(by_role, self.threads, memory_body, 1 << 24)
        self.roles = tuple(roles)

    def call(self, asked: tuple[str, str]) -> AuthorizedCall:
        request = make_request(method=asked[0], target=Target(asked[1]))
        return Authorize(CATALOGUE, self.policy)(
            request, make_identity(), make_user(roles=self.roles)
        )

    async def settle(self, asked: tuple[str, str], body: object) -> Any:
        request = make_request(
            method=asked[0], target=Target(asked[1]), media_type="application/json"
        )
        user = make_user(roles=self.roles)
        admission = Admission(request, make_identity(), user, self.call(asked), FakeLease())
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        settled = await self.stage(admission, memory_body(raw))
        return json.loads(settled.read(settled.length))


def user(**rules: Any) -> Rules:
    return Rules(allow=["SUBMIT", "JOB-WRITE"], **rules)


def job(**fields: object) -> dict[str, Any]:
    return {"script": "#!/bin/sh\n", "job": fields}


async def refused(world: World, asked: tuple[str, str], body: object) -> Denied:
    with pytest.raises(Denied) as caught:
        await world.settle(asked, body)
    return caught.value


# whose rules


def test_every_role_refuses_what_only_privileged_users_may_set() -> None:
    assert World(user=user()).call(SUBMIT).has_body_rules
    assert World(user=user()).call(UPDATE).has_body_rules
    free = ["user_id", "group_id", "job_id", "admin_comment", "site_factor"]
    assert not World(user=user(permit_fields=free)).call(SUBMIT).has_body_rules


def test_an_operation_without_rules_is_not_looked_at() -> None:
    world = World(user=Rules(allow=["ADMIN", "READ"]))
    assert not world.call(("GET", "/slurm/v0.0.42/job/7")).has_body_rules
    assert not world.call(("POST", "/slurm/v0.0.42/node/n1")).has_body_rules


async def test_one_role_that_admits_a_body_is_enough() -> None:
    world = World(user=user(maximum={"time_limit": 60}), staff=user(maximum={"time_limit": 600}))
    assert await world.settle(SUBMIT, job(time_limit=500)) == job(time_limit=500)
    denied = await refused(world, SUBMIT, job(time_limit=601))
    assert denied.rule == "authorize.roles.user"


async def test_a_role_that_does_not_allow_the_operation_has_no_say_in_its_body() -> None:
    world = World(user=user(maximum={"time_limit": 60}), reader=Rules(allow=["READ-SENSITIVE"]))
    assert (await refused(world, SUBMIT, job(time_limit=61))).reason is Reason.FIELD_FORBIDDEN


async def test_a_permitted_field_passes_and_the_others_do_not() -> None:
    world = World(user=user(permit_fields=["admin_comment"]))
    await world.settle(UPDATE, {"admin_comment": "x"})
    assert (await refused(world, UPDATE, {"site_factor": 1})).reason is Reason.FIELD_FORBIDDEN


# forced


async def test_a_forced_field_is_written_in_the_shape_of_the_version() -> None:
    rules = user(force_fields={"comment": "gateway", "time_limit": 5, "nodes": 2})
    world = World(user=rules)
    new = await world.settle(SUBMIT, job(name="x"))
    limit = {"set": True, "infinite": False, "number": 5}
    assert new == job(name="x", comment="gateway", time_limit=limit, nodes=2)
    old = await world.settle(OLD_SUBMIT, job(name="x"))
    assert old == job(name="x", comment="gateway", time_limit=5, nodes=[2])


async def test_a_forced_field_takes_the_place_of_every_spelling() -> None:
    world = World(user=user(force_fields={"nodes": 1, "comment": "g"}))
    given = job(Nodes="9", maximum_nodes=9, COMMENT="mine") | {"comment": "beside"}
    assert await world.settle(SUBMIT, given) == job(nodes=1, comment="g")


async def test_a_forced_field_is_written_into_every_component() -> None:
    world = World(user=user(force_fields={"comment": "g"}))
    body = {"script": "#!", "jobs": [{"comment": "a"}, {}]}
    expected = {"script": "#!", "jobs": [{"comment": "g"}, {"comment": "g"}]}
    assert await world.settle(SUBMIT, body) == expected


async def test_a_body_without_a_description_of_a_job_is_one_itself() -> None:
    world = World(user=user(force_fields={"comment": "g"}))
    asked = ("POST", "/slurm/v0.0.35/job/submit")
    assert await world.settle(asked, {"script": "#!"}) == {"script": "#!", "comment": "g"}


async def test_what_is_forced_in_new_jobs_cannot_be_changed_in_an_update() -> None:
    world = World(user=user(force_fields={"comment": "g"}))
    assert (await refused(world, UPDATE, {"comment": "other"})).reason is Reason.FIELD_FORBIDDEN
    assert await world.settle(UPDATE, {"nice": 5}) == {"nice": 5}


async def test_a_field_that_a_version_cannot_be_given_refuses_the_job() -> None:
    world = World(user=user(force_fields={"reboot": False}))
    denied = await refused(world, OLD_SUBMIT, job(name="x"))
    assert denied.members == {"field": "reboot"}
    written = await world.settle(SUBMIT, job(name="x"))
    assert written == job(name="x", reboot=False)


@pytest.mark.parametrize("permitted", [0, 1, len(PRIVILEGED)])
async def test_what_ends_slurmrestd_is_refused_in_the_versions_where_it_does(
    permitted: int,
) -> None:
    """Also where a role permits everything, so that there is no other rule."""
    world = World(user=user(permit_fields=list(PRIVILEGED)[:permitted]))
    assert world.call(OLD_SUBMIT).has_body_rules
    bodies = [job(argv=value) for value in (["a"], "a", "", None, 0, [None], {"set": False})]
    for body in (*bodies, job(ARGV=["a"]), {"script": "#!", "argv": ["a"]}):
        denied = await refused(world, OLD_SUBMIT, body)
        assert denied.reason is Reason.FIELD_FORBIDDEN
        assert await world.settle(SUBMIT, body) == body
    assert await world.settle(OLD_SUBMIT, job(argv=[])) == job(argv=[])


async def test_texts_and_numbers_survive_a_forced_field() -> None:
    world = World(user=user(force_fields={"comment": "g"}))
    odd = {"a": "é\U0001f600\u2028", "b": 2**70, "c": 0.1, "d": [None, True], "e": -0.0}
    assert await world.settle(SUBMIT, job(**odd)) == job(**odd, comment="g")


async def test_a_role_after_one_that_cannot_force_sees_the_body_as_it_was() -> None:
    world = World(user=user(force_fields={"comment": "g", "reboot": False}), staff=user())
    assert await world.settle(OLD_SUBMIT, job(comment="mine")) == job(comment="mine")


# required


async def test_a_required_field_has_to_be_in_every_new_job() -> None:
    world = World(user=user(require_fields=["time_limit"]))
    await world.settle(SUBMIT, {"script": "#!", "jobs": [{"time_limit": 1}, {"TIME_LIMIT": 1}]})
    body = {"script": "#!", "jobs": [{"time_limit": 1}, {}]}
    assert (await refused(world, SUBMIT, body)).members == {"field": "time_limit"}
    await world.settle(UPDATE, {"nice": 1})


@pytest.mark.parametrize(
    "nothing", [None, "", [], {}, {"set": False}, {"SET": False, "number": 5}], ids=str
)
async def test_a_required_field_that_says_nothing_is_not_there(nothing: object) -> None:
    """Slurm fills it in then, as if it had not been named."""
    world = World(user=user(require_fields=["time_limit", "account"]))
    await world.settle(SUBMIT, job(time_limit=1, account="a"))
    for fields in ({"time_limit": nothing, "account": "a"}, {"time_limit": 1, "account": nothing}):
        assert (await refused(world, SUBMIT, job(**fields))).reason is Reason.FIELD_FORBIDDEN


@pytest.mark.parametrize("value", [-1, "-1", {"set": True, "number": -1}, -4294967295], ids=str)
async def test_a_number_below_nothing_is_not_within_a_cap(value: object) -> None:
    """Slurm keeps most numbers without a sign: -1 is 4294967295 there, or "no limit"."""
    names = ("priority", "cpus_per_task", "memory_per_node", "tasks")
    world = World(user=user(maximum=dict.fromkeys(names, 100)))
    for name in names:
        await world.settle(SUBMIT, job(**{name: 1}))
        assert (await refused(world, SUBMIT, job(**{name: value}))).members == {
            "field": f"job.{name}"
        }


@pytest.mark.parametrize("name", ["memory_per_node", "memory_per_cpu"])
@pytest.mark.parametrize("value", [0, "0", {"set": True, "number": 0}], ids=str)
async def test_no_memory_at_all_is_all_of_it_and_not_within_a_cap(name: str, value: object) -> None:
    """sbatch(1): a size of zero grants the job all memory of each node."""
    world = World(user=user(maximum={name: 100, "priority": 100}))
    assert await world.settle(SUBMIT, job(priority=0)) == job(priority=0)
    assert (await refused(world, SUBMIT, job(**{name: value}))).members == {"field": f"job.{name}"}


async def test_niceness_has_a_sign() -> None:
    world = World(user=user(maximum={"nice": 100}))
    assert await world.settle(SUBMIT, job(nice=-5)) == job(nice=-5)


# where the work is done


async def test_a_small_body_is_judged_at_once_and_a_large_one_in_a_thread() -> None:
    world = World(user=user())
    await world.settle(SUBMIT, job(comment="x"))
    assert world.threads.runs == 0
    large = job(comment="x" * 100_000)
    assert await world.settle(SUBMIT, large) == large
    assert world.threads.runs == 1


@pytest.mark.parametrize("error", [TimeoutError(), OSError()])
async def test_a_body_that_nobody_has_time_to_judge_is_refused(error: Exception) -> None:
    world = World(user=user())
    world.threads.error = error
    assert (await refused(world, SUBMIT, job(comment="x" * 100_000))).reason is Reason.BUSY


# what the configuration may say


@pytest.mark.parametrize(
    ("rules", "place", "what"),
    [
        ({"forbid_fields": ["time_limt"]}, "forbid_fields[0]", "'time_limt' is no field"),
        ({"permit_fields": ["qos"]}, "permit_fields[0]", "qos is permitted anyway"),
        (
            {"permit_fields": ["user_id"], "forbid_fields": ["user_id"]},
            "permit_fields[0]",
            "user_id is forbidden too",
        ),
        ({"require_fields": ["nope"]}, "require_fields[0]", "'nope' is no field"),
        ({"force_fields": {"environment": "x"}}, "force_fields.environment", "cannot be forced"),
        ({"force_fields": {"time_limit": "x"}}, "force_fields.time_limit", "is no value of"),
        ({"force_fields": {"hold": 1}}, "force_fields.hold", "is no value of"),
        ({"force_fields": {"qos": 1}}, "force_fields.qos", "is no value of"),
        ({"maximum": {"partition": 1}}, "maximum.partition", "has no size"),
        ({"maximum": {"time_limits": 1}}, "maximum.time_limits", "is no field"),
        ({"only_values": {"script": ["x"]}}, "only_values.script", "cannot be compared"),
        ({"only_values": {"bulk.sig": ["x"]}}, "only_values.bulk.sig", "is no field"),
    ],
)
def test_a_mistake_is_told_with_its_place(rules: dict[str, Any], place: str, what: str) -> None:
    _, problems = parse_policy({"user": user(**rules)}, CATALOGUE)
    assert [problem.place for problem in problems] == [f"authorize.roles.user.{place}"]
    assert what in problems[0].what


def test_all_mistakes_are_told_at_once() -> None:
    rules = user(forbid_fields=["a", "b"], maximum={"c": 1}, force_fields={"d": "x"})
    assert len(parse_policy({"user": rules, "staff": rules}, CATALOGUE)[1]) == 8


def test_a_policy_is_read_with_its_fields() -> None:
    policy: Policy = World(user=user(forbid_fields=["bulk.signal"])).policy
    assert "signal" in policy.roles["user"].fields["bulk"].forbidden
    assert "bulk.signal" not in policy.roles["user"].fields["jobs"].forbidden
