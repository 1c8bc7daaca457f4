"""Owners are asked of slurmrestd with the caller's credential, and answers are filtered as they come."""

import asyncio
import json
from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.job_owners import SlurmJobOwners
from gateway.edges.own_answers import only_own_jobs
from gateway.edges.upstream_answer import Answer
from gateway.model import Grant
from gateway.slurm_api.job_owner import NOBODY, Owner
from gateway.stages.forward import read_head
from tests.fakes import FakeClock, make_call
from tests.upstream_kit import make_grant, text_of

JOBS = make_call("/slurm/{version}/jobs")
JOB = make_call("/slurm/{version}/job/{job_id}")
CANCEL = make_call("/slurm/{version}/job/{job_id}", method="DELETE", changes_state=True)


def job(user: str = "alice", **more: Any) -> dict[str, Any]:
    return {"job_id": 1, "user_name": user, "user_id": 1001, **more}


def answer_of(
    document: object, status: int = 200, *, pieces: int = 0, kind: str = "application/json"
) -> Answer:
    """An answer that is whole, or one that comes in pieces."""
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = read_head(
        f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
    )
    if not pieces:
        return Answer(head, raw)
    answer = Answer(head, None, None, len(raw))
    for begin in range(0, len(raw), pieces):
        answer.feed(raw[begin : begin + pieces])
    answer.finish(0.25)
    return answer


class Upstream:
    """Answers with one document, and keeps what was asked."""

    def __init__(self, document: object, status: int = 200, pieces: int = 0) -> None:
        self.document, self.status, self.pieces = document, status, pieces
        self.asked: list[Grant] = []

    async def send(self, grant: Grant) -> Answer:
        self.asked.append(grant)
        grant.slot.release()
        return answer_of(self.document, self.status, pieces=self.pieces)


async def owner(upstream: Upstream, owners: SlurmJobOwners | None = None) -> Owner:
    grant = make_grant(CANCEL)
    owners = owners or SlurmJobOwners(upstream, FakeClock())
    found = await owners(grant.admission, "7", grant.credential)
    assert grant.slot.released == 0  # type: ignore[attr-defined]  # the request's slot is not the question's
    return found


@pytest.mark.parametrize("pieces", [0, 10])
async def test_a_job_is_described_with_the_callers_credential(pieces: int) -> None:
    upstream = Upstream({"jobs": [job(), job()]}, pieces=pieces)
    assert await owner(upstream) == Owner("alice", 1001)
    asked = upstream.asked[0]
    assert asked.admission.call.target == b"/slurm/v0.0.38/job/7"
    assert asked.admission.call.operation.method == "GET"
    assert (asked.body, asked.credential.user) == (None, "alice")


async def test_an_owner_is_asked_for_once_in_a_while() -> None:
    clock, upstream = FakeClock(), Upstream({"jobs": [job("bob")]})
    owners = SlurmJobOwners(upstream, clock)
    for _ in range(3):
        assert await owner(upstream, owners) == Owner("bob", 1001)
    assert len(upstream.asked) == 1
    clock.advance(31)
    await owner(upstream, owners)
    assert len(upstream.asked) == 2


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"jobs": [], "errors": [{"error_number": 2017}]}, 404),
        ({"jobs": [job()]}, 500),
        ({"jobs": []}, 200),
        ({"errors": []}, 200),
        (b"no JSON", 200),
        ({"jobs": [{"job_id": 1}]}, 200),
        ({"jobs": ["alice"]}, 200),
    ],
)
async def test_what_is_not_described_belongs_to_nobody_and_is_asked_for_again(
    document: object, status: int
) -> None:
    upstream = Upstream(document, status)
    owners = SlurmJobOwners(upstream, FakeClock())
    assert await owner(upstream, owners) == NOBODY
    assert await owner(upstream, owners) == NOBODY
    assert len(upstream.asked) == 2


async def test_the_memory_of_owners_is_bounded() -> None:
    upstream = Upstream({"jobs": [job()]})
    owners, grant = SlurmJobOwners(upstream, FakeClock()), make_grant(CANCEL)
    for number in range(8193):
        await owners(grant.admission, str(number), grant.credential)
    await owners(grant.admission, "8192", grant.credential)
    assert len(upstream.asked) == 8193
    await owners(grant.admission, "0", grant.credential)
    assert len(upstream.asked) == 8194


# answers


@pytest.mark.parametrize("pieces", [0, 7, 1000])
async def test_a_list_is_left_with_own_jobs_and_its_new_length(pieces: int) -> None:
    document = {"meta": {}, "jobs": [job(n=1), job("bob"), job(n=2)], "errors": []}
    admission = make_grant(JOBS).admission
    found = await only_own_jobs(admission, answer_of(document, pieces=pieces))
    raw = await text_of(found)
    assert json.loads(raw) == {**document, "jobs": [job(n=1), job(n=2)]}
    assert found.head.length == len(raw)
    assert dict(found.head.headers)[b"content-length"] == str(len(raw)).encode()
    assert b"content-length: %d\r\n" % len(raw) in found.head.lines
    assert found.seconds == (0.25 if pieces else 0.0)


async def test_one_job_of_somebody_else_is_refused() -> None:
    admission = make_grant(JOB).admission
    assert (await only_own_jobs(admission, answer_of({"jobs": [job()]}))).whole
    with pytest.raises(Denied) as caught:
        await only_own_jobs(admission, answer_of({"jobs": [job(), job("bob")]}))
    assert caught.value.reason is Reason.JOB_NOT_OWN


async def test_answers_that_are_not_lists_of_jobs_pass() -> None:
    answer = answer_of(b"anything")
    assert await only_own_jobs(make_grant(CANCEL).admission, answer) is answer


async def test_an_answer_without_a_body_passes() -> None:
    answer = answer_of(b"", 200)
    assert await only_own_jobs(make_grant(JOBS).admission, answer) is answer


@pytest.mark.parametrize(
    ("status", "raw"),
    [(404, b'{"jobs":[],"errors":[{"error_number":2017}]}'), (404, b"Unable find requested URL.")],
)
async def test_errors_of_slurmrestd_pass(status: int, raw: bytes) -> None:
    found = await only_own_jobs(make_grant(JOB).admission, answer_of(raw, status))
    assert await text_of(found) == raw
    assert found.head.status == status


@pytest.mark.parametrize(
    ("status", "raw"), [(200, b"jobs: []"), (200, b'{"jobs":{}}'), (500, b'{"jobs":[{]}')]
)
async def test_an_answer_that_cannot_be_filtered_is_not_shown(status: int, raw: bytes) -> None:
    with pytest.raises(Denied) as caught:
        await only_own_jobs(make_grant(JOBS).admission, answer_of(raw, status))
    assert caught.value.reason is Reason.UPSTREAM_INVALID


async def test_a_list_of_more_own_jobs_than_there_is_room_for_is_refused() -> None:
    raw = b'{"jobs":[%b]}' % b",".join([json.dumps(job(c=["x" * 1000] * 1000)).encode()] * 36)
    with pytest.raises(Denied) as caught:
        await only_own_jobs(make_grant(JOBS).admission, answer_of(raw, pieces=1 << 20))
    assert caught.value.reason is Reason.LIST_TOO_LARGE


async def test_others_are_served_while_a_long_list_is_filtered() -> None:
    answer = answer_of({"jobs": [job(c="x" * 1000)] * 1000}, pieces=1 << 20)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    await only_own_jobs(make_grant(JOBS).admission, answer)
    counting.cancel()
    assert turns >= 10
