"""What the lines of a request say: the same fields for every request, and nothing secret in them."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.lines import Lines, Moments, event_body
from gateway.model import AuditRecord, Target
from tests.fakes import make_call, make_identity, make_record, make_request, make_user

WHO = [
    "time", "request_id", "cluster", "issuer", "subject", "client_id", "token_hash", "acr", "amr",
    "auth_time", "user", "roles", "client_address", "forwarded_for", "method", "operation", "target", "verdict",
]  # fmt: skip
BEGIN = ["event", *WHO, "rule", "body_sha256", "job_ids", "bytes_in"]
END = [
    "event", *WHO, "code", "rule", "note", "status", "body_sha256", "slurm_errors", "job_ids",
    "bytes_in", "bytes_out", "upstream_ms", "total_ms", "complete",
]  # fmt: skip


def lines(*listed: str) -> Lines:
    return Lines("lab", frozenset(listed))


def read(body: str) -> dict[str, Any]:
    assert body.isascii()
    assert body.isprintable()
    members: dict[str, Any] = json.loads(f"{{{body}}}")
    return members


def but(record: AuditRecord, **changes: Any) -> AuditRecord:
    """Another record, which differs in this."""
    other = copy.copy(record)
    for name, value in changes.items():
        setattr(other, name, value)
    return other


def full_record() -> AuditRecord:
    return make_record(
        request=make_request(
            target=Target("/slurm/v0.0.38/jobs", (("job_id", "1"), ("x", "s3cret")))
        ),
        identity=make_identity(),
        user=make_user(),
        call=make_call(),
        granted=True,
        rule="allow[READ]",
        status=200,
    )


@pytest.mark.parametrize("record", [make_record(), full_record()])
def test_a_refused_and_a_granted_request_have_the_same_fields(record: AuditRecord) -> None:
    assert list(read(lines().end(record))) == END


def test_the_line_says_who_did_what_and_redacts_unlisted_query_values() -> None:
    line = read(lines("job_id").end(full_record()))
    assert line["user"] == "alice"
    assert line["operation"] == "GET /slurm/*/jobs"
    assert line["target"] == "/slurm/v0.0.38/jobs?job_id=1&x=REDACTED"
    assert line["time"] == "2027-01-15T08:00:00.250000Z"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ("", [], "")),
        ({"acr": "urn:x:2fa", "auth_time": 1_800_000_000.9, "claims": {"amr": ["pwd", "otp"]}},
         ("urn:x:2fa", ["pwd", "otp"], "2027-01-15T08:00:00Z")),
        ({"claims": {"amr": "pwd"}}, ("", [], "")),
        ({"claims": {"amr": ["pwd", 1, None, {"a": 1}]}}, ("", ["pwd"], "")),
        ({"acr": "é\n" + "x" * 600, "claims": {"amr": ["m" * 70] * 20}},
         ("é\n" + "x" * 510 + "[+90]", ["m" * 64 + "[+6]"] * 8, "")),
        ({"auth_time": 253_402_300_799.0}, ("", [], "9999-12-31T23:59:59Z")),
    ],
)  # fmt: skip
def test_the_line_says_how_and_when_somebody_signed_in(changes: Any, expected: Any) -> None:
    record, renders = but(full_record(), identity=make_identity(**changes)), lines()
    for line in (read(renders.begin(record)), read(renders.end(record))):
        assert (line["acr"], line["amr"], line["auth_time"]) == expected


def test_each_of_the_two_lines_stands_alone() -> None:
    record, renders = full_record(), lines()
    begin = read(renders.begin(record))
    end = read(renders.end(record))
    assert list(begin) == BEGIN
    assert (begin["event"], end["event"]) == ("begin", "end")
    assert {name: begin[name] for name in WHO} == {name: end[name] for name in WHO}
    assert begin["verdict"] == "granted"


@pytest.mark.parametrize(
    ("changes", "event"),
    [
        ({"granted": False}, "denied"),
        ({"granted": False, "opened": '"x":1'}, "end"),
        ({"granted": True}, "end"),
    ],
    ids=["refused", "refused after its first line", "answered by the gateway itself"],
)
def test_only_what_has_no_first_line_is_called_denied(changes: Any, event: str) -> None:
    assert read(lines().end(make_record(**changes)))["event"] == event


def test_the_query_of_a_target_that_was_never_parsed_is_not_written() -> None:
    line = read(lines().end(make_record(raw_target="/a?access_token=canary")))
    assert line["target"] == "/a?REDACTED"


def test_what_is_remembered_of_one_request_is_not_written_for_another() -> None:
    """Other users of one identity, other targets of one call, other addresses."""
    renders, record = lines("q"), full_record()
    renders.end(record)
    other = but(
        record,
        request=make_request(target=Target("/slurm/v0.0.38/jobs", (("q", "2"),))),
        user=make_user("bob", ("user", "operator")),
        client_address="192.0.2.99",
    )
    line = read(renders.end(other))
    assert line["target"] == "/slurm/v0.0.38/jobs?q=2"
    assert (line["user"], line["roles"]) == ("bob", ["user", "operator"])
    assert line["client_address"] == "192.0.2.99"
    mallory = but(other, identity=make_identity(subject="mallory"))
    assert read(renders.end(mallory))["subject"] == "mallory"
    assert read(renders.end(record))["user"] == "alice"


def test_what_is_remembered_has_a_bound() -> None:
    renders = lines()
    for number in range(5000):
        identity = make_identity(subject=str(number))
        call = make_call()
        record = but(full_record(), identity=identity, call=call)
        assert read(renders.end(record))["subject"] == str(number)
    assert len(renders._who) <= 4096
    assert len(renders._what) <= 4096


@pytest.mark.parametrize(("said", "named"), [((), ["7"]), (("7", "8"), ["7", "8"])])
def test_the_last_line_names_the_job_that_was_asked_for_whatever_became_of_it(
    said: tuple[str, ...], named: list[str]
) -> None:
    """Reads and refusals, too, are found by the number of their job."""
    record = make_record(call=make_call()._replace(job_ids=("7",)), job_ids=said)
    assert read(lines().end(record))["job_ids"] == named


@given(st.text(alphabet=st.characters(), max_size=300))
def test_any_text_gives_members_that_read_back(text: str) -> None:
    """Lone surrogates, controls and line separators included, and escaped: a terminal sees none."""
    identity = make_identity(subject=text)
    record = make_record(identity=identity, note=text, rule=text, raw_target="/x", method=text)
    line = read(lines().end(record))
    assert [line["subject"], line["note"], line["rule"], line["method"]] == [text] * 4


@given(
    st.lists(st.text(max_size=20), max_size=5),
    st.integers(min_value=0, max_value=2**63),
    st.floats(min_value=0, max_value=1e6),
)
def test_lists_and_numbers_read_back(texts: list[str], count: int, seconds: float) -> None:
    record = make_record(
        slurm_errors=tuple(texts), job_ids=tuple(texts), bytes_out=count, total_seconds=seconds
    )
    line = read(lines().end(record))
    assert (line["slurm_errors"], line["job_ids"], line["bytes_out"]) == (texts, texts, count)
    assert line["total_ms"] == pytest.approx(seconds * 1000, abs=0.001)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1_800_000_000.25, "2027-01-15T08:00:00.250000Z"),
        (1_800_000_000.75, "2027-01-15T08:00:00.750000Z"),
        (1_800_000_001.0, "2027-01-15T08:00:01.000000Z"),
        (0.0, "1970-01-01T00:00:00.000000Z"),
    ],
)
def test_moments_are_in_utc_to_the_microsecond(seconds: float, text: str) -> None:
    moments = Moments()
    moments.text(1.0)
    assert moments.text(seconds) == text


def test_an_event_is_one_line_whatever_it_tells() -> None:
    body = event_body("break", "2027-01-15T08:00:00.250000Z", {"file": "/a\n\u2028\ud800"})
    assert read(body)["file"] == "/a\n\u2028\ud800"
