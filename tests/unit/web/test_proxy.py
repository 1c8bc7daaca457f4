"""One request in, one answer out, one record, everything given back: whatever happens."""

import asyncio
import hashlib
import json
import logging
import re
from dataclasses import replace

import pytest

from gateway.denial import Denied, Reason
from gateway.model import AuthorizedCall
from gateway.web.proxy import Proxy
from gateway.web.visit import AnswerAborted
from tests.asgi_client import TOKEN, AsgiClient
from tests.proxy_world import World
from tests.upstream_kit import CANCEL, READ, SUBMIT, Plan, settled

SUBMIT_TARGET = "/slurm/v0.0.38/job/submit"
JSON = (("content-type", "application/json"),)


def a_submit(body: bytes = b'{"job":{}}') -> AsgiClient:
    return AsgiClient("POST", SUBMIT_TARGET, headers=JSON, body=[body])


@pytest.mark.parametrize(
    ("offers", "is_busy", "in_one_write"),
    [
        (("client",), False, 0),
        (("client", "respond"), False, 1),
        (("client", "respond"), True, 0),
    ],
    ids=["by ASGI", "in one write", "in one write, if nothing waited"],
)
async def test_a_read_is_answered_and_recorded(
    offers: tuple[str, ...], is_busy: bool, in_one_write: int
) -> None:
    world = World(Plan(200, (b'{"jobs":[]}',)))
    client = AsgiClient(offers=offers)
    client.is_busy = is_busy
    record = await world.serve(client)
    assert (client.status, client.text, client.is_complete) == (200, b'{"jobs":[]}', True)
    assert client.answer_headers == {
        "content-type": "application/json",
        "content-length": "11",
        "via": "1.1 slurm-gateway",
        "cache-control": "private, no-store",
        "x-content-type-options": "nosniff",
        "x-request-id": record.request_id,
    }
    assert re.fullmatch("[0-9a-f]{32}", record.request_id)
    assert (record.granted, record.code, record.status) == (True, "", 200)
    assert (record.bytes_in, record.bytes_out, record.complete) == (0, 11, True)
    assert record.client_address == "192.0.2.7"
    assert (world.opened, world.lease.released, world.slot.released) == (1, 1, 2)
    assert client.responded == in_one_write


async def test_a_large_answer_goes_out_in_pieces_with_one_end() -> None:
    world = World(Plan(200, (b"a", b"b", b"c")))
    client = AsgiClient()
    record = await world.serve(client)
    assert [message.get("more_body") for message in client.messages] == [None, True, True, None]
    assert (client.text, record.bytes_out, record.complete) == (b"abc", 3, True)


@pytest.mark.parametrize("pieces", [(b"{}",), (b"a", b"b", b"c")], ids=["whole", "in pieces"])
async def test_the_record_is_written_before_the_answers_last_byte(
    pieces: tuple[bytes, ...],
) -> None:
    world = World(Plan(200, pieces))
    world.closing = asyncio.Event()
    client = AsgiClient()
    serving = asyncio.create_task(world.serve(client))
    await settled(lambda: world.records)
    await asyncio.sleep(0.01)
    assert not client.is_complete
    world.closing.set()
    await serving
    assert client.is_complete


async def test_what_slurm_said_of_a_write_is_in_the_record() -> None:
    """24.11 and 26.05 say 200 to a cancel that they refuse."""
    world = World(Plan(200, (b'{"errors":[],"status":[{"job_id":7,"error":{"code":2002}}]}',)))
    world.call = CANCEL._replace(job_ids=("7",))
    record = await world.serve(AsgiClient("DELETE", "/slurm/v0.0.38/job/7"))
    assert (record.status, record.slurm_errors, record.job_ids) == (200, ("2002",), ("7",))


async def test_a_submit_is_recorded_with_its_body_and_its_job() -> None:
    world = World(Plan(200, (b'{"job_id":', b'42,"errors":[]}')))
    world.call = SUBMIT
    client = a_submit()
    record = await world.serve(client)
    assert client.text == b'{"job_id":42,"errors":[]}'
    assert record.job_ids == ("42",)
    assert record.bytes_in == 10
    assert record.body_sha256 == hashlib.sha256(b'{"job":{}}').hexdigest()


async def test_what_the_upstream_notes_of_a_write_joins_what_the_stages_noted() -> None:
    world = World(Plan(200, (b'{"job_id":7}',), note="replayed, first request 1"))
    world.call = SUBMIT
    record = await world.serve(a_submit())
    assert (record.note, record.job_ids) == ("replayed, first request 1", ("7",))


async def test_a_read_is_not_searched_for_errors() -> None:
    record = await World(Plan(404, (b'{"errors":[{"error_number":2017}]}',))).serve(AsgiClient())
    assert (record.status, record.slurm_errors, record.granted) == (404, (), True)


# refusals

DENIED = Denied(Reason.OPERATION_UNLISTED, "canary note", rule="deny[x]")


@pytest.mark.parametrize(
    "stage", ["authenticate", "map_user", "authorize", "limit", "slots", "credential", "open"]
)
async def test_a_refusal_of_any_stage_is_answered_recorded_and_holds_nothing(stage: str) -> None:
    world = World(fails={stage: DENIED})
    client = AsgiClient()
    record = await world.serve(client)
    assert (client.status, client.answer_headers["content-type"]) == (
        403,
        "application/problem+json",
    )
    problem = json.loads(client.text)
    assert (problem["code"], problem["request_id"]) == ("operation-unlisted", record.request_id)
    assert b"canary" not in client.text
    assert (record.code, record.note, record.rule) == (
        "operation-unlisted",
        "canary note",
        "deny[x]",
    )
    assert (record.status, record.bytes_out, record.complete) == (403, len(client.text), True)
    assert world.upstream.grants == []
    world.assert_nothing_is_held()


@pytest.mark.parametrize(
    "stage", ["authenticate", "map_user", "authorize", "limit", "slots", "credential", "open"]
)
async def test_a_fault_of_any_stage_forwards_nothing(
    stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(fails={stage: RuntimeError("canary-secret-text")})
    client = AsgiClient()
    with caplog.at_level(logging.ERROR):
        record = await world.serve(client)
    assert (client.status, json.loads(client.text)["code"]) == (500, "internal-error")
    assert (record.code, record.note) == ("internal-error", "RuntimeError")
    assert world.upstream.grants == []
    assert record.request_id in caplog.text
    assert "canary" not in caplog.text + client.text.decode()
    world.assert_nothing_is_held()


async def test_a_head_that_receive_refuses_is_recorded_as_it_came() -> None:
    world = World()
    client = AsgiClient(target="/slurm//v0.0.38/jobs?a=b")
    record = await world.serve(client)
    assert (client.status, record.code) == (400, "target-malformed")
    assert record.raw_target == "/slurm//v0.0.38/jobs?a=b"
    assert record.client_address == "192.0.2.7"


async def test_an_upstream_that_is_away_was_granted_and_failed() -> None:
    world = World(Plan(is_away=True))
    world.call = SUBMIT
    client = a_submit()
    record = await world.serve(client)
    assert (client.status, json.loads(client.text)["outcome"]) == (502, "not-run")
    assert (record.granted, record.code, record.status) == (True, "upstream-unreachable", 502)
    world.assert_nothing_is_held()


async def test_a_fault_after_forwarding_does_not_claim_that_nothing_ran() -> None:
    world = World(fails={"close": RuntimeError("canary")})
    world.call = SUBMIT
    client = a_submit()
    await world.proxy(client.scope, client.receive, client.send)
    problem = json.loads(client.text)
    assert (client.status, problem["outcome"]) == (500, "unknown")
    assert "not forwarded" not in problem["detail"]
    assert len(world.records) == 1


# bodies


async def test_nothing_of_a_body_is_read_before_the_head_is_admitted() -> None:
    """The server says 100 Continue when the application first calls receive."""
    world = World(fails={"authenticate": Denied(Reason.TOKEN_INVALID)})
    client = AsgiClient(
        "POST", SUBMIT_TARGET, headers=(*JSON, ("expect", "100-continue")), body=[b"{}"]
    )
    await world.serve(client)
    assert (client.status, client.received) == (401, 0)
    assert client.answer_headers["connection"] == "close"


@pytest.mark.parametrize(
    ("client", "closes"),
    [
        (AsgiClient(), False),
        (a_submit(), False),
        (AsgiClient("POST", SUBMIT_TARGET, headers=(*JSON, ("content-length", "65537"))), True),
        (
            AsgiClient("POST", SUBMIT_TARGET, headers=(*JSON, ("transfer-encoding", "chunked"))),
            True,
        ),
        (AsgiClient("PUT", SUBMIT_TARGET, headers=(*JSON, ("content-length", "2"))), True),
        (AsgiClient("PUT"), False),
    ],
    ids=["no body", "a small one", "a large one", "chunked", "refused head", "refused, no body"],
)
async def test_a_body_that_is_not_read_never_becomes_the_next_request(
    client: AsgiClient, closes: bool
) -> None:
    await World(fails={"authenticate": Denied(Reason.TOKEN_INVALID)}).serve(client)
    assert ("connection" in client.answer_headers) is closes


async def test_a_length_that_lies_is_413() -> None:
    world = World()
    world.call = SUBMIT
    client = AsgiClient(
        "POST", SUBMIT_TARGET, headers=(*JSON, ("content-length", "9")), body=[b"x" * 600] * 2
    )
    record = await world.serve(client)
    assert (client.status, record.code, record.granted) == (413, "body-too-large", False)
    world.assert_nothing_is_held()


async def test_a_client_that_hangs_up_while_it_sends_is_recorded() -> None:
    world = World()
    world.call = SUBMIT
    client = AsgiClient("POST", SUBMIT_TARGET, headers=(*JSON, ("content-length", "99")))
    client.hang_up()
    record = await world.serve(client)
    assert (record.code, record.status, record.complete) == ("client-closed", 499, False)
    assert client.messages == []
    assert world.upstream.grants == []
    world.assert_nothing_is_held()


# clients that go away

OFFERS = pytest.mark.parametrize("offers", [("client",), ()], ids=["own protocol", "any server"])


@OFFERS
async def test_a_read_is_cut_when_its_client_hangs_up(offers: tuple[str, ...]) -> None:
    world = World(Plan(waits=asyncio.Event()))
    client = AsgiClient(offers=offers)
    serving = asyncio.create_task(world.serve(client))
    await settled(lambda: world.upstream.grants)
    client.hang_up()
    record = await serving
    assert (record.code, record.complete, client.messages) == ("client-closed", False, [])
    assert record.granted
    world.assert_nothing_is_held()


@OFFERS
async def test_a_write_goes_on_to_its_end_when_its_client_hangs_up(offers: tuple[str, ...]) -> None:
    world = World(Plan(200, (b'{"job_id":42}',), waits=asyncio.Event()))
    world.call = SUBMIT
    client = AsgiClient("POST", SUBMIT_TARGET, headers=JSON, body=[b"{}"], offers=offers)
    serving = asyncio.create_task(world.serve(client))
    await settled(lambda: world.upstream.grants)
    await asyncio.sleep(0.05)
    client.hang_up()
    await asyncio.sleep(0.05)
    assert not serving.done()
    assert world.upstream.plan.waits is not None
    world.upstream.plan.waits.set()
    record = await serving
    assert (record.job_ids, record.code, record.complete) == (("42",), "client-closed", False)
    world.assert_nothing_is_held()


@pytest.mark.parametrize("call", [READ, SUBMIT], ids=["read", "write"])
async def test_who_hangs_up_in_the_queue_is_not_forwarded(call: AuthorizedCall) -> None:
    world = World()
    world.call = call
    world.waiting_for_slot = asyncio.Event()
    client = a_submit() if call is SUBMIT else AsgiClient()
    serving = asyncio.create_task(world.serve(client))
    await asyncio.sleep(0.02)
    client.hang_up()
    record = await serving
    assert (record.code, record.granted, world.upstream.grants) == ("client-closed", False, [])
    assert world.lease.released == 1


async def test_a_client_that_hangs_up_inside_the_answer_does_not_have_it_all() -> None:
    world = World(Plan(200, (b"a", b"b", b"c")))
    client = AsgiClient()
    client.hold = asyncio.Event()
    serving = asyncio.create_task(world.serve(client))
    await settled(lambda: client.messages)
    client.hang_up()
    record = await serving
    assert (record.code, record.status, record.complete) == ("client-closed", 200, False)
    assert not client.is_complete
    world.assert_nothing_is_held()


# answers that break off


@pytest.mark.parametrize("offers", [(), ("client",)])
async def test_an_answer_that_breaks_off_is_never_completed(offers: tuple[str, ...]) -> None:
    world = World(Plan(200, (b"a", b"b", b"c"), breaks=True))
    client = AsgiClient(offers=offers)
    with pytest.raises(AnswerAborted):
        await world.serve(client)
    record = world.only_record()
    assert (client.text, client.is_complete) == (b"ab", False)
    assert (record.code, record.status, record.complete) == ("upstream-invalid", 200, False)
    assert record.bytes_out == 2
    assert client.aborted == len(offers)
    assert (world.lease.released, world.slot.released) == (1, 1)


async def test_a_write_that_breaks_off_is_a_502_of_unknown_outcome() -> None:
    world = World(Plan(200, (b"a", b"b"), breaks=True))
    world.call = SUBMIT
    client = a_submit()
    record = await world.serve(client)
    assert (client.status, json.loads(client.text)["outcome"]) == (502, "unknown")
    assert (record.granted, record.code) == (True, "upstream-invalid")


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    world = World(Plan(200, (b"a" * 10, b"b", b"c")))
    world.serving = replace(world.serving, held_window_seconds=0.05)
    client = AsgiClient(offers=("client",))
    client.hold = asyncio.Event()
    with pytest.raises(AnswerAborted):
        await world.serve(client)
    record = world.only_record()
    assert (record.code, record.complete, client.aborted) == ("client-too-slow", False, 1)


# the server stops


async def test_a_request_that_the_server_ends_is_recorded_all_the_same() -> None:
    world = World(Plan(waits=asyncio.Event()))
    serving = asyncio.create_task(world.serve(AsgiClient()))
    await settled(lambda: world.upstream.grants)
    serving.cancel()
    await asyncio.wait([serving])
    assert serving.cancelled()
    record = world.only_record()
    assert (record.code, record.complete, record.granted) == ("shutting-down", False, True)
    world.assert_nothing_is_held()


async def test_a_reload_does_not_change_a_request_that_has_begun() -> None:
    old, new = World(Plan(waits=asyncio.Event())), World()
    serving_now = [old.serving]
    proxy = Proxy(lambda: serving_now[0])
    client, later = AsgiClient(), AsgiClient()
    first = asyncio.create_task(proxy(client.scope, client.receive, client.send))
    await settled(lambda: old.upstream.grants)
    serving_now[0] = new.serving
    await proxy(later.scope, later.receive, later.send)
    assert old.upstream.plan.waits is not None
    old.upstream.plan.waits.set()
    await first
    assert (len(old.records), len(new.records)) == (1, 1)


async def test_no_secret_is_in_an_answer_a_log_or_a_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(fails={"close": RuntimeError(TOKEN)})
    client = AsgiClient()
    with caplog.at_level(logging.DEBUG):
        await world.proxy(client.scope, client.receive, client.send)
    shown = repr(world.records) + caplog.text + repr(client.messages)
    assert "canary" not in shown
