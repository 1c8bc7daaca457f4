"""The audit stage: the same fields for every request, and nothing secret in them."""

import errno
import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied, Reason
from gateway.model import AuditRecord, Target
from gateway.stages.audit import AuditTrail, render_line
from tests.fakes import FakeSink, make_call, make_identity, make_record, make_request, make_user

FIELDS = [
    "time", "request_id", "cluster", "issuer", "subject", "client_id", "token_hash", "user", "roles",
    "client_address", "forwarded_for", "method", "operation", "target", "verdict", "code", "rule",
    "note", "status", "body_sha256", "slurm_errors", "job_ids", "bytes_in", "bytes_out",
    "upstream_ms", "total_ms", "complete",
]  # fmt: skip


def make_trail(*sinks: FakeSink) -> AuditTrail:
    return AuditTrail(sinks, cluster="lab", listed_query_values=frozenset({"job_id"}))


def full_record() -> AuditRecord:
    return make_record(
        request=make_request(
            target=Target("/slurm/v0.0.38/jobs", (("job_id", "1"), ("x", "s3cret")))
        ),
        identity=make_identity(),
        user=make_user(),
        call=make_call(),
        granted=True,
        status=200,
    )


@pytest.mark.parametrize("record", [make_record(), full_record()])
def test_a_refused_and_a_granted_request_have_the_same_fields(record: AuditRecord) -> None:
    assert list(json.loads(render_line(record, "lab", frozenset()))) == FIELDS


def test_the_line_says_who_did_what_and_redacts_unlisted_query_values() -> None:
    line = json.loads(render_line(full_record(), "lab", frozenset({"job_id"})))
    assert line["user"] == "alice"
    assert line["operation"] == "GET /slurm/*/jobs"
    assert line["target"] == "/slurm/v0.0.38/jobs?job_id=1&x=REDACTED"
    assert line["time"] == "2027-01-15T08:00:00.250000Z"


def test_the_query_of_a_target_that_was_never_parsed_is_not_written() -> None:
    line = json.loads(
        render_line(make_record(raw_target="/a?access_token=canary"), "lab", frozenset())
    )
    assert line["target"] == "/a?REDACTED"


@given(st.text(alphabet=st.characters(), max_size=300))
def test_any_text_gives_one_line_that_reads_back(text: str) -> None:
    """Lone surrogates, controls and line separators included."""
    record = make_record(identity=make_identity(subject=text), note=text, raw_target="/x")
    line = render_line(record, "lab", frozenset())
    assert line.count(b"\n") == 1
    assert all(byte >= 0x20 for byte in line[:-1])
    json.loads(line)


async def test_a_failed_sink_stops_admission_until_it_works_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sink = FakeSink()
    trail = make_trail(sink)
    await trail.open(make_record())
    sink.error = OSError(errno.ENOSPC, "No space left on device")
    with caplog.at_level(logging.ERROR):
        await trail.close(make_record())
    with pytest.raises(Denied) as refusal:
        await trail.open(make_record())
    assert refusal.value.reason is Reason.AUDIT_UNAVAILABLE
    assert not trail.is_working
    sink.error = None
    await trail.open(make_record())
    assert trail.is_working


async def test_one_failing_sink_does_not_keep_the_line_from_the_other() -> None:
    broken, working = FakeSink(), FakeSink()
    broken.error = OSError(errno.EIO, "Input/output error")
    await make_trail(broken, working).close(make_record())
    assert len(working.lines) == 1


async def test_observers_see_every_record() -> None:
    seen: list[AuditRecord] = []
    trail = AuditTrail(
        [FakeSink()], cluster="lab", listed_query_values=frozenset(), observers=[seen.append]
    )
    record = make_record()
    await trail.close(record)
    assert seen == [record]
