"""How each operation is held to the caller's own jobs."""

import json
from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.spool import memory_body
from gateway.model import Admission, Body, ClusterUser, Target, UpstreamCredential
from gateway.slurm_api import read_catalogue
from gateway.slurm_api.job_owner import NOBODY, Owner
from gateway.slurm_api.policy import parse_policy
from gateway.stages.authorize import Authorize
from gateway.stages.own_jobs import OwnJobs
from tests.fakes import FakeLease, make_credential, make_identity, make_request
from tests.roles import Rules

ALLOW = ("READ", "READ-HEAVY", "SUBMIT", "JOB-WRITE", "JOB-WRITE-BULK", "ACCT-JOB-WRITE")
CATALOGUE = read_catalogue()
OWN = Rules(allow=ALLOW, own_jobs_only=True)
ALICE = ClusterUser("alice", ("user",), uid=1001, gid=1001)


class Owners:
    """Jobs 1 to 9 are alice's, 10 to 19 bob's; the others do not exist."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(
        self, admission: Admission, job_id: str, credential: UpstreamCredential
    ) -> Owner:
        assert credential.user == "alice"
        self.asked.append(job_id)
        number = int(job_id)
        if number < 10:
            return Owner("alice", 1001)
        return Owner("", 1002) if number < 20 else NOBODY


class Scene:
    """A stage and what it asked."""

    def __init__(self, **roles: Rules) -> None:
        self.owners = Owners()
        self.stage = OwnJobs(self.owners, memory_body)
        policy, problems = parse_policy(roles or {"user": OWN}, CATALOGUE)
        assert problems == []
        self.authorize = Authorize(CATALOGUE, policy)
        self.roles = tuple(roles) or ("user",)

    def admission(
        self, method: str, path: str, *, query: dict[str, str] | None = None, **head: Any
    ) -> Admission:
        target = Target(f"/slurm/v0.0.45{path}", tuple((query or {}).items()))
        if path.startswith("/db"):
            target = Target(f"/slurmdb/v0.0.45{path[3:]}")
        request = make_request(method=method, target=target, **head)
        user = ClusterUser("alice", self.roles, uid=1001)
        call = self.authorize(request, make_identity(), user)
        return Admission(request, make_identity(), ALICE, call, FakeLease())

    async def settle(self, admission: Admission, body: object = None) -> Body | None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        admission = admission._replace(
            request=admission.request._replace(
                media_type=admission.request.media_type or "application/json"
            )
        )
        given = None if body is None else memory_body(raw)
        return await self.stage(admission, given, make_credential())

    async def refuses(self, admission: Admission, body: object = None) -> Denied:
        with pytest.raises(Denied) as caught:
            await self.settle(admission, body)
        return caught.value


# which calls are held


def test_a_call_is_held_where_every_role_that_allows_it_says_so() -> None:
    describe = ("GET", "/job/1")
    assert Scene().admission(*describe).call.own_jobs_only
    free = Rules(allow=["READ"])
    assert not Scene(user=OWN, staff=free).admission(*describe).call.own_jobs_only
    unrelated = Rules(allow=["READ-SENSITIVE"])
    assert Scene(user=OWN, auditor=unrelated).admission(*describe).call.own_jobs_only
    assert not Scene(user=free).admission(*describe).call.own_jobs_only


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/diag"), ("POST", "/job/submit"), ("GET", "/nodes")]
)
def test_what_reaches_no_job_is_not_held(method: str, path: str) -> None:
    assert not Scene().admission(method, path).call.own_jobs_only


# jobs that are named


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/job/{}"),
        ("POST", "/job/{}"),
        ("GET", "/job/{}/requeue"),
        ("GET", "/resources/{}"),
    ],
)
async def test_the_owner_of_a_job_in_the_path_is_asked_for(method: str, path: str) -> None:
    scene = Scene()
    body = {"comment": "x"} if method == "POST" else None
    await scene.settle(scene.admission(method, path.format("7")), body)
    await scene.settle(scene.admission(method, path.format("7_3")), body)
    for other in ("11", "11_1", "99"):
        denied = await scene.refuses(scene.admission(method, path.format(other)), body)
        assert denied.reason is Reason.JOB_NOT_OWN
        assert denied.rule == "authorize.roles.own_jobs_only"
    assert scene.owners.asked == ["7", "7", "11", "11", "99"]


async def test_a_body_that_is_not_about_owners_stays_as_it_is() -> None:
    scene = Scene()
    body = await scene.settle(scene.admission("POST", "/job/7"), b'{"comment" : "x"}')
    assert body is not None
    assert body.read(100) == b'{"comment" : "x"}'


async def test_states_are_asked_of_named_jobs_only() -> None:
    scene = Scene()
    await scene.settle(scene.admission("GET", "/jobs/state", query={"job_id": "1,2_3,2_4"}))
    assert scene.owners.asked == ["1", "2"]
    for query in ({}, {"job_id": "1,11"}):
        admission = scene.admission("GET", "/jobs/state", query=query)
        assert (await scene.refuses(admission)).reason is Reason.JOB_NOT_OWN


async def test_more_jobs_than_can_be_compared_are_refused() -> None:
    scene = Scene()
    ids = [f"{number}" for number in range(1, 66)]
    denied = await scene.refuses(scene.admission("POST", "/jobs/requeue"), {"jobs": ids})
    assert denied.reason is Reason.JOB_NOT_OWN
    assert scene.owners.asked == []


async def test_a_bulk_requeue_is_compared_job_by_job() -> None:
    scene = Scene()
    body = await scene.settle(scene.admission("POST", "/jobs/requeue"), {"jobs": ["1", "2_1"]})
    assert body is not None
    assert json.loads(body.read(100)) == {"jobs": ["1", "2_1"]}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jobs": []},
        {"jobs": ["1", "11"]},
        {"jobs": "1"},
        {"jobs": {"0": "1"}},
        {"jobs": [1]},
        {"jobs": ["1+1"]},
        {"jobs": ["1_[1-3]"]},
        {"jobs": ["01"]},
        {"jobs": ["1,11"]},
        {"JOBS": ["11"]},
    ],
)
async def test_a_bulk_requeue_in_another_shape_is_refused(body: object) -> None:
    scene = Scene()
    denied = await scene.refuses(scene.admission("POST", "/jobs/requeue"), body)
    assert denied.reason is Reason.JOB_NOT_OWN


# bulk signals


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jobs": ["1", "11"]},
        {"user_name": "bob"},
        {"user_id": "1002"},
        {"User_Name": "bob", "USER_ID": 0},
        {"user_name": None, "account": "research"},
    ],
)
async def test_a_bulk_signal_gets_the_caller_as_its_filter(body: dict[str, Any]) -> None:
    scene = Scene()
    settled = await scene.settle(scene.admission("DELETE", "/jobs"), body)
    assert settled is not None
    rest = {name: value for name, value in body.items() if name in ("jobs", "account")}
    sent = json.loads(settled.read(1000))
    assert sent == {**rest, "user_name": "alice", "user_id": "1001"}


async def test_without_a_known_number_the_name_is_the_filter() -> None:
    scene = Scene()
    admission = scene.admission("DELETE", "/jobs")._replace(user=ClusterUser("alice", ("user",)))
    settled = await scene.settle(admission, {"user_id": "0"})
    assert settled is not None
    assert json.loads(settled.read(1000)) == {"user_name": "alice"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, Reason.BODY_REQUIRED),
        (b"[]", Reason.BODY_MALFORMED),
        (b'{"user_name":"alice","USER_NAME":"bob"}', Reason.BODY_MALFORMED),
        (b'{"account":"' + b"x" * 1_100_000 + b'"}', Reason.BODY_TOO_LARGE),
    ],
)
async def test_a_bulk_signal_that_cannot_be_read_is_refused(body: object, reason: Reason) -> None:
    scene = Scene()
    assert (await scene.refuses(scene.admission("DELETE", "/jobs"), body)).reason is reason


async def test_a_bulk_signal_in_yaml_is_refused() -> None:
    scene = Scene()
    admission = scene.admission("DELETE", "/jobs", media_type="application/x-yaml")
    denied = await scene.refuses(admission, b"user_name: bob")
    assert denied.reason is Reason.MEDIA_TYPE_UNSUPPORTED


# lists, and what cannot be known


@pytest.mark.parametrize("path", ["/jobs", "/job/11", "/db/jobs", "/db/job/11"])
async def test_what_is_filtered_later_is_json(path: str) -> None:
    scene = Scene()
    await scene.settle(scene.admission("GET", path))
    assert scene.owners.asked == []
    denied = await scene.refuses(scene.admission("GET", path, accept="application/x-yaml"))
    assert denied.reason is Reason.NOT_ACCEPTABLE


@pytest.mark.parametrize("path", ["/db/job/1", "/db/jobs"])
async def test_records_of_the_accounting_are_not_changed(path: str) -> None:
    scene = Scene()
    denied = await scene.refuses(scene.admission("POST", path), {"extra": "x"})
    assert denied.reason is Reason.JOB_NOT_OWN
