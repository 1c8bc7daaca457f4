"""The order of the stages, and that a refusal anywhere leaves nothing held."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.denial import Denied, Reason
from gateway.edges.spool import memory_body
from gateway.model import ClusterUser, Identity, Risk, Secret, UpstreamCredential
from gateway.pipeline import Pipeline, note_denial
from tests.fakes import (
    FakeLease,
    StageDouble,
    make_call,
    make_credential,
    make_identity,
    make_record,
    make_request,
    make_user,
)

ORDER = ["authenticate", "map_user", "authorize", "check_body", "limit"]
SETTLING = ["slots", "credential", "audit"]


class Doubles:
    """A pipeline of doubles; `fail(name)` makes one stage raise."""

    def __init__(self) -> None:
        self.trace: list[str] = []
        self.lease, self.slot = FakeLease(), FakeLease()
        answers: dict[str, Any] = {
            "authenticate": make_identity(),
            "map_user": make_user(),
            "authorize": make_call(),
            "check_body": None,
            "limit": self.lease,
            "body_rules": None,
            "own_jobs": None,
            "slots": self.slot,
            "credential": make_credential(),
            "audit": None,
        }
        self.stages: dict[str, Any] = {
            name: StageDouble(name, self.trace, answer) for name, answer in answers.items()
        }

    def fail(self, name: str, error: BaseException) -> None:
        self.stages[name].answer = error

    def pipeline(self) -> Pipeline:
        stage = self.stages
        return Pipeline(
            authenticate=stage["authenticate"].decide_later,
            map_user=stage["map_user"].decide_later,
            authorize=stage["authorize"].decide,
            check_body=stage["check_body"].decide,
            limit=stage["limit"].decide_later,
            body_rules=stage["body_rules"].decide_later,
            slots=SimpleNamespace(acquire=stage["slots"].decide_later),
            credential=stage["credential"].decide_later,
            own_jobs=stage["own_jobs"].decide_later,
            audit=SimpleNamespace(
                open=stage["audit"].decide_later, close=stage["audit"].decide_later
            ),
        )


async def test_the_stages_run_in_the_published_order() -> None:
    doubles, record = Doubles(), make_record()
    pipeline = doubles.pipeline()
    admission = await pipeline.admit(make_request(), record)
    await pipeline.settle(admission, None, record)
    assert doubles.trace == ORDER + SETTLING
    assert record.granted
    assert record.rule == make_call().rule


@pytest.mark.parametrize("failing", ORDER)
@pytest.mark.parametrize("error", [Denied(Reason.USER_UNMAPPED), RuntimeError("bug")])
async def test_a_failure_before_the_body_ends_there_and_grants_nothing(
    failing: str, error: BaseException
) -> None:
    doubles, record = Doubles(), make_record()
    doubles.fail(failing, error)
    with pytest.raises(type(error)):
        await doubles.pipeline().admit(make_request(), record)
    assert doubles.trace == ORDER[: ORDER.index(failing) + 1]
    assert not record.granted


@pytest.mark.parametrize("failing", ["credential", "audit"])
@pytest.mark.parametrize("error", [Denied(Reason.CREDENTIAL_UNAVAILABLE), RuntimeError("bug")])
async def test_a_failure_while_settling_gives_the_slot_back_once(
    failing: str, error: BaseException
) -> None:
    doubles, record = Doubles(), make_record()
    pipeline = doubles.pipeline()
    admission = await pipeline.admit(make_request(), record)
    doubles.fail(failing, error)
    with pytest.raises(type(error)):
        await pipeline.settle(admission, None, record)
    assert doubles.slot.released == 1
    assert not record.granted


class Beside:
    """What was begun beside the record, and whether it was told that nothing is sent."""

    dropped = False

    def drop(self) -> None:
        self.dropped = True

    async def wait(self) -> None:
        """Nothing to wait for."""


@pytest.mark.parametrize("key", ["", "k"])
async def test_a_key_is_begun_before_the_record_is_written_and_dropped_if_that_fails(
    key: str,
) -> None:
    doubles, record, beside = Doubles(), make_record(), Beside()

    def remember(*_: object) -> Beside:
        doubles.trace.append("remember_key")
        return beside

    pipeline = replace(doubles.pipeline(), remember_key=remember)
    request = make_request(idempotency_key=key)
    admission = await pipeline.admit(request, make_record())
    doubles.trace.clear()
    await pipeline.settle(admission, None, record)
    assert doubles.trace == ["slots", "credential", *["remember_key"] * bool(key), "audit"]
    assert (record.beside is beside, beside.dropped) == (bool(key), False)
    doubles.fail("audit", Denied(Reason.AUDIT_UNAVAILABLE))
    with pytest.raises(Denied):
        await pipeline.settle(admission, None, record)
    assert (record.beside, beside.dropped) == (None, bool(key)), "nobody waits for what was dropped"


@pytest.mark.parametrize("other", ["nothing", "wrapping", "authorize", "credential"])
async def test_a_decision_is_made_again_where_call_and_credential_are_the_same(other: str) -> None:
    doubles, credential = Doubles(), make_credential()
    doubles.stages["credential"].answer = credential
    admission = await doubles.pipeline().admit(make_request(), make_record())
    if other == "authorize":
        doubles.stages["authorize"].answer = make_call(risk=Risk.READ_HEAVY)
    if other == "wrapping":  # some strategies wrap the same token each time
        doubles.stages["credential"].answer = UpstreamCredential(credential.user, credential.token)
    if other == "credential":
        doubles.stages["credential"].answer = make_credential()
    is_same = other in {"nothing", "wrapping"}
    assert doubles.pipeline().decides_again(admission, credential) == is_same


@pytest.mark.parametrize("failing", ["authorize", "credential"])
async def test_a_decision_that_is_refused_now_is_not_made_again(failing: str) -> None:
    doubles = Doubles()
    admission = await doubles.pipeline().admit(make_request(), make_record())
    doubles.fail(failing, Denied(Reason.USER_UNMAPPED))
    with pytest.raises(Denied):
        doubles.pipeline().decides_again(admission, make_credential())


async def test_a_stage_that_has_to_wait_is_ended_and_decides_nothing() -> None:
    doubles, credential, ended = Doubles(), make_credential(), []

    async def slow(
        identity: Identity, user: ClusterUser, bearer: Secret | None
    ) -> UpstreamCredential:
        try:
            await asyncio.sleep(0)
        finally:
            ended.append(True)
        return credential

    pipeline = replace(doubles.pipeline(), credential=slow)
    admission = await pipeline.admit(make_request(), make_record())
    assert not pipeline.decides_again(admission, credential)
    assert ended == [True]


def test_a_denial_overwrites_an_earlier_grant_in_the_record() -> None:
    record = make_record(granted=True, rule="allow")
    note_denial(record, Denied(Reason.AUDIT_UNAVAILABLE, "no room"))
    assert (record.granted, record.code, record.status) == (False, "audit-unavailable", 503)
    assert (record.rule, record.note) == ("allow", "no room")


async def test_a_body_under_rules_is_looked_at_before_anything_is_taken_for_it() -> None:
    doubles = Doubles()
    came, made = memory_body(b"{}"), memory_body(b'{"a":1}')
    doubles.stages["body_rules"].answer = made
    admission = await doubles.pipeline().admit(make_request(), make_record())
    ruled = admission._replace(call=admission.call._replace(has_body_rules=True))
    doubles.trace.clear()
    record = make_record()
    grant = await doubles.pipeline().settle(ruled, came, record)
    assert doubles.trace == ["body_rules", *SETTLING]
    assert grant.body is made
    assert record.note == "forced fields were written into the body"


async def test_a_body_that_rules_refuse_takes_no_slot() -> None:
    doubles = Doubles()
    doubles.fail("body_rules", Denied(Reason.FIELD_FORBIDDEN))
    admission = await doubles.pipeline().admit(make_request(), make_record())
    ruled = admission._replace(call=admission.call._replace(has_body_rules=True))
    doubles.trace.clear()
    with pytest.raises(Denied):
        await doubles.pipeline().settle(ruled, memory_body(b"{}"), make_record())
    assert doubles.trace == ["body_rules"]
    assert (await doubles.pipeline().settle(ruled, None, make_record())).body is None


async def test_a_caller_of_own_jobs_is_held_to_them_with_the_credential_and_before_the_grant() -> (
    None
):
    doubles = Doubles()
    made = memory_body(b'{"user_name":"alice"}')
    doubles.stages["own_jobs"].answer = made
    admission = await doubles.pipeline().admit(make_request(), make_record())
    held = admission._replace(call=admission.call._replace(own_jobs_only=True))
    doubles.trace.clear()
    record = make_record()
    grant = await doubles.pipeline().settle(held, memory_body(b"{}"), record)
    assert doubles.trace == ["slots", "credential", "own_jobs", "audit"]
    assert grant.body is made
    assert record.note == "the body's filter was set to the caller"
    doubles.fail("own_jobs", Denied(Reason.JOB_NOT_OWN))
    record = make_record()
    with pytest.raises(Denied):
        await doubles.pipeline().settle(held, None, record)
    assert doubles.slot.released == 1
    assert not record.granted


@pytest.mark.parametrize(("goes", "slots"), [(True, 0), (False, 1)])
async def test_whoever_may_be_answered_from_memory_waits_for_no_slot(
    goes: bool, slots: int
) -> None:
    doubles = Doubles()
    pipeline = replace(doubles.pipeline(), goes_without_slot=lambda _: goes)
    record = make_record()
    admission = await pipeline.admit(make_request(), record)
    grant = await pipeline.settle(admission, None, record)
    grant.slot.release()
    assert doubles.trace.count("slots") == slots
    assert doubles.slot.released == slots
    assert record.granted
