"""Parameters `gateway.` before real releases: parts of lists in every version, with a cache and without one."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from gateway.slurm_api.selection import JOB_STATES
from lab.gateway import Answer, GatewayProcess
from lab.identity_provider import IdentityProvider
from lab.processes import wait_until
from lab.slurm import SlurmRelease
from lab.submission import submission

PAGES = 5
"""Or one more; few of them, so that little changes between the first and the last."""

SCRIPT = "#!/bin/sh\nsleep 300\n"
CACHES = {"kept": {"cache": {"enabled": True}}, "streamed": {"cache": {"enabled": False}}}


class Site:
    """One gateway, one token, some held jobs of alice's."""

    def __init__(self, release: SlurmRelease, gateway: GatewayProcess, token: str) -> None:
        self.release, self.gateway, self.token = release, gateway, token
        self.jobs: list[int] = []

    def get(self, path: str, /, base: str = "/slurm", version: str = "", **query: str) -> Answer:
        version = version or self.release.api_versions[0]
        text = "&".join(f"gateway.{name}={quote(value)}" for name, value in query.items())
        target = f"{base}/{version}{path}{'?' * bool(text)}{text}"
        return self.gateway.ask("GET", target, self.token)

    def submit(self) -> None:
        version = self.release.api_versions[0]
        body = submission(version, SCRIPT, hold=True)
        answer = self.gateway.ask("POST", f"/slurm/{version}/job/submit", self.token, body)
        assert answer.status == 200, answer.body
        self.jobs.append(int(answer.json()["job_id"]))


@pytest.fixture(params=list(CACHES))
def site(
    request: pytest.FixtureRequest,
    slurm_release: SlurmRelease,
    shared_gateway: Callable[..., GatewayProcess],
    identity_provider: IdentityProvider,
) -> Iterator[Site]:
    at = shared_gateway(slurm_release, CACHES[request.param])
    found = Site(slurm_release, at, identity_provider.token_for("alice"))
    for _ in range(3):
        found.submit()
    yield found
    for job_id in found.jobs:
        path = f"/slurm/{slurm_release.api_versions[0]}/job/{job_id}"
        at.ask("DELETE", path, found.token)


def jobs_in(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.json()["jobs"]
    return found


def test_own_jobs_of_a_state_with_few_fields_in_every_version(site: Site) -> None:
    for version in site.release.api_versions:
        shown = site.get(
            "/jobs",
            version=version,
            user="alice",
            state="PENDING",
            fields="job_id,user_name,job_state",
        )
        found = {int(job["job_id"]): job for job in jobs_in(shown)}
        assert set(site.jobs) <= set(found)
        assert int(shown.headers["Gateway-Total"]) == len(jobs_in(shown))
        for job in found.values():
            assert set(job) == {"job_id", "user_name", "job_state"}
            assert job["user_name"] in ("alice", "")  # 20.11 gives the number alone
            assert "PENDING" in job["job_state"]
        others = jobs_in(site.get("/jobs", version=version, user="nobody-of-that-name"))
        assert others == []


NO_UTF_8 = "\udcff"
"""The byte 0xff in the arguments of a command."""


@pytest.mark.disturbs_slurm
def test_a_name_that_is_no_utf_8_ends_nobodys_list(site: Site) -> None:
    """Alone with the release, and with another name afterwards: tests read lists as strictly as they like."""
    options = ("--parsable", "-H", "-D", "/tmp", "--wrap", "true")  # noqa: S108 (the job's)
    odd = site.release.run("sbatch", *options, user="bob").strip()  # 26.05 keeps its command line
    site.release.run("scontrol", "update", f"JobId={odd}", f"JobName=odd{NO_UTF_8}")
    try:
        assert b"odd\xff" in site.get("/jobs").body
        shown = jobs_in(site.get("/jobs", user="alice", fields="job_id,name"))
        assert set(site.jobs) <= {int(job["job_id"]) for job in shown}
        every = jobs_in(site.get("/jobs", fields="job_id,name"))
        assert {job["name"] for job in every if str(job["job_id"]) == odd} == {"odd\ufffd"}
    finally:
        site.release.run("scontrol", "update", f"JobId={odd}", "JobName=even")
        site.release.run("scancel", odd)


def test_the_envelope_stays_as_slurmrestd_gives_it(site: Site) -> None:
    whole, part = site.get("/jobs").json(), site.get("/jobs", user="alice").json()
    assert list(whole) == list(part)
    by_id = {job["job_id"]: job for job in whole["jobs"]}
    assert [job for job in part["jobs"] if job["job_id"] in site.jobs] == [
        by_id[job_id] for job_id in site.jobs
    ]


def paged(site: Site, **query: str) -> tuple[list[int], set[str]]:
    """All pages one after the other: the ids on them, and what each said of the number of all items."""
    seen: list[int] = []
    totals = set()
    for _ in range(1000):
        page = site.get("/jobs", **query)
        assert len(jobs_in(page)) <= int(query["limit"])
        seen += [int(job["job_id"]) for job in jobs_in(page)]
        totals.add(str(page.headers["Gateway-Total"]))
        if page.headers["Gateway-Cursor"] is None:
            return seen, totals
        query["cursor"] = str(page.headers["Gateway-Cursor"])
    raise AssertionError("the pages do not end")


def test_pages_have_every_job_once(site: Site) -> None:
    """Where the list stays as it is. Others submit and cancel meanwhile, so it is tried until they did not."""
    query = {"user": "alice", "state": "PENDING", "fields": "job_id"}
    for _ in range(50):
        found = int(site.get("/jobs", limit="1", **query).headers["Gateway-Total"])
        seen, totals = paged(site, limit=str(max(2, found // PAGES)), **query)
        if len(totals) == 1:
            break
    assert totals == {str(len(seen))}
    assert len(set(seen)) == len(seen)
    assert [job_id for job_id in seen if job_id in site.jobs] == site.jobs


@pytest.mark.parametrize("path", ["/nodes", "/partitions"])
def test_nodes_and_partitions_are_lists_too(site: Site, path: str) -> None:
    for version in site.release.api_versions:
        answer = site.get(path, version=version, fields="name", limit="1")
        assert answer.status == 200, answer.body
        (item,) = answer.json()[path[1:]]
        assert set(item) == {"name"}


def test_a_node_is_found_by_its_state_and_its_partition(site: Site) -> None:
    for version in site.release.api_versions:
        states = "IDLE,MIXED,ALLOCATED,COMPLETING,UNKNOWN"
        assert site.get("/nodes", version=version, state=states).json()["nodes"]
        assert not site.get("/nodes", version=version, state="FUTURE").json()["nodes"]
        by_partition = site.get("/nodes", version=version, partition="debug")
        if site.release.name == "bullseye":  # its nodes do not say it
            assert by_partition.json()["code"] == "parameter-invalid"
            continue
        assert by_partition.json()["nodes"]
        assert not site.get("/nodes", version=version, partition="none").json()["nodes"]


def test_the_accounting_is_a_list_too(site: Site) -> None:
    for version in site.release.api_versions:
        answer = site.get("/jobs", base="/slurmdb", version=version, user="alice", limit="5")
        if answer.status == 403:  # the oldest version has no accounting
            continue
        users = {job.get("user") or job["association"]["user"] for job in jobs_in(answer)}
        assert users <= {"alice"}


def test_a_state_is_found_in_the_accounting_or_refused(site: Site) -> None:
    """20.11 gives reasons for states there, so that nobody can say which jobs are PENDING."""

    def ids(version: str, **query: str) -> set[int]:
        found = jobs_in(site.get("/jobs", base="/slurmdb", version=version, **query))
        return {int(job["job_id"]) for job in found}

    for version in site.release.api_versions:
        if site.get("/jobs", base="/slurmdb", version=version).status == 403:
            continue  # the oldest version has no accounting
        wait_until(lambda: bool(ids(version)), 20, "the first job of the accounting")  # noqa: B023 (called at once)
        everything = ids(version)
        if version == "v0.0.36":
            answer = site.get("/jobs", base="/slurmdb", version=version, state="PENDING")
            assert (answer.status, answer.json()["code"]) == (400, "parameter-invalid")
        else:
            assert everything <= ids(version, state=",".join(JOB_STATES))


@pytest.mark.parametrize(
    ("query", "code", "says"),
    [
        ({"fields": "job_id,nodez"}, "parameter-invalid", "job_state"),
        ({"state": "RUNING"}, "parameter-invalid", "RUNNING"),
        ({"colour": "red"}, "query-unlisted", "gateway.user"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(
    site: Site, query: dict[str, str], code: str, says: str
) -> None:
    answer = site.get("/jobs", **query)
    assert (answer.status, answer.json()["code"]) == (400, code)
    assert says in answer.json()["detail"]
