"""What may be kept, for how long, and what is said of it."""

import pytest

from gateway.model import AuthorizedCall, CacheWish, Risk
from gateway.slurm_api import read_catalogue
from gateway.slurm_api.kept import may_be_kept
from gateway.slurm_api.own_jobs import HOLDS
from gateway.stages.cache import (
    Concern,
    Found,
    Lifetimes,
    Sighting,
    concern_of,
    concerns_of_write,
    has_tag,
    longest_age,
    told_headers,
)
from tests.fakes import make_call
from tests.upstream_kit import CANCEL, READ, SUBMIT

LIFETIMES = Lifetimes(1.0, 5.0, {"GET /slurmdb/*/jobs": 30.0, "GET /slurm/*/ping": 0.0})
STATES = "/slurm/{version}/jobs/state"
RESOURCES = "/slurm/{version}/resources/{job_id}"


@pytest.mark.parametrize(
    ("call", "seconds"),
    [
        (READ, 1.0),
        (make_call("/slurm/{version}/job/{job_id}"), 1.0),
        (make_call("/slurm/{version}/nodes"), 5.0),
        (make_call("/slurm/{version}/node/{node_name}"), 5.0),
        (make_call("/slurm/{version}/partitions"), 5.0),
        (make_call("/slurm/{version}/diag"), 5.0),
        (make_call("/slurmdb/{version}/diag"), 5.0),
        (make_call("/slurmdb/{version}/users", Risk.READ_ACCOUNTING), 1.0),
        (make_call("/slurmdb/{version}/jobs", Risk.READ_HEAVY), 30.0),
        (make_call("/slurm/{version}/ping"), 0.0),
        (make_call("/slurm/{version}/conf", Risk.READ_SENSITIVE), 0.0),
        (make_call("/slurmdb/{version}/config", Risk.READ_BULK), 0.0),
        (make_call("/openapi/v3", Risk.READ_HEAVY), 0.0),
        (SUBMIT, 0.0),
        (CANCEL, 0.0),
        (make_call("/slurm/{version}/reconfigure", Risk.ADMIN, changes_state=True), 0.0),
        (make_call("/util/{version}/hostlist", Risk.UTIL, "POST", takes_body=True), 0.0),
    ],
)
def test_an_operation_has_its_time(call: AuthorizedCall, seconds: float) -> None:
    assert LIFETIMES(call) == seconds


def test_a_parameter_that_makes_a_read_sensitive_ends_its_time() -> None:
    assert LIFETIMES(READ._replace(risk=Risk.READ_SENSITIVE)) == 0


@pytest.mark.parametrize(
    ("template", "seconds"),
    [("/slurm/{version}/jobs", 1.0), (STATES, 0.0), (RESOURCES, 0.0)],
)
def test_what_asks_for_owners_first_is_not_shared(template: str, seconds: float) -> None:
    """The owner is asked for by the request's own connection, which a shared answer has none of."""
    call = make_call(template)
    assert call.operation.name in HOLDS
    assert LIFETIMES(call._replace(own_jobs_only=True)) == seconds


def test_nothing_that_is_kept_changes_anything() -> None:
    for entry in read_catalogue().entries:
        if may_be_kept(entry.operation):
            assert entry.operation.method == "GET"
            assert not entry.operation.changes_state
            assert not entry.operation.takes_body


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        (None, 1.0),
        (CacheWish("gzip"), 1.0),
        (CacheWish("", 30.0), 1.0),
        (CacheWish("", 0.5), 0.5),
        (CacheWish("", 0.0), 0.25),
    ],
)
def test_a_client_may_ask_for_a_younger_answer_within_a_limit(
    wish: CacheWish | None, seconds: float
) -> None:
    assert longest_age(1.0, wish, 0.25) == seconds


@pytest.mark.parametrize(
    ("call", "concerns"),
    [
        (SUBMIT, (Concern.JOBS,)),
        (CANCEL, (Concern.JOBS,)),
        (make_call("/slurm/{version}/partitions", Risk.ADMIN, "POST"), tuple(Concern)),
        (make_call("/slurm/{version}/reconfigure", Risk.ADMIN), tuple(Concern)),
        (make_call("/util/{version}/hostlist", Risk.UTIL, "POST"), ()),
    ],
)
def test_a_write_concerns_what_it_may_change(
    call: AuthorizedCall, concerns: tuple[Concern, ...]
) -> None:
    assert concerns_of_write(call) == concerns


def test_whatever_shows_jobs_is_concerned_by_them() -> None:
    shown = {
        entry.operation.template
        for entry in read_catalogue().entries
        if may_be_kept(entry.operation)
        and concern_of(make_call(entry.operation.template)).value == "jobs"
    }
    assert {"/slurm/{version}/jobs", STATES, RESOURCES, "/slurmdb/{version}/jobs"} <= shown
    assert not shown & {"/slurm/{version}/nodes", "/slurmdb/{version}/users"}


@pytest.mark.parametrize(
    ("sighting", "text", "note"),
    [
        (
            Sighting(Found.HIT, 0.62, 0.38),
            "slurm-gateway; hit; ttl=0",
            "answered from the cache, 0.4 s old",
        ),
        (
            Sighting(Found.MISS, is_stored=True, fwd_status=200),
            "slurm-gateway; fwd=uri-miss; fwd-status=200; stored",
            "",
        ),
        (
            Sighting(Found.STALE, is_collapsed=True, is_stored=True, fwd_status=200),
            "slurm-gateway; fwd=stale; fwd-status=200; stored; collapsed",
            "shared the answer of an equal request",
        ),
        (Sighting(Found.REQUEST), "slurm-gateway; fwd=request", ""),
    ],
)
def test_it_is_told_how_an_answer_was_come_by(sighting: Sighting, text: str, note: str) -> None:
    assert sighting.status.decode() == text
    assert sighting.note == note


def test_a_client_may_keep_it_for_itself_and_asks_before_it_uses_it() -> None:
    told = dict(told_headers(b"application/json", '"abc-z"', "zstd", Sighting(Found.HIT, 3.4, 1.6)))
    assert told[b"cache-control"] == b"private, no-cache"
    assert (told[b"etag"], told[b"age"], told[b"content-encoding"]) == (b'"abc-z"', b"1", b"zstd")
    assert {b"authorization", b"accept-encoding"} <= set(told[b"vary"].lower().split(b", "))


@pytest.mark.parametrize(
    ("field", "has"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", "a"', True),
        ("*", True),
        ("", False),
        ('"a-z"', False),
    ],
)
def test_a_tag_is_found_in_the_field(field: str, has: bool) -> None:
    assert has_tag(field, '"a"') is has
