"""/healthz, /readyz and /metrics, and what they read."""

from collections.abc import Sequence

import httpx2
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.denial import Denied, Reason
from gateway.model import AuditRecord, Risk
from gateway.pipeline import note_denial
from gateway.web.metrics import BUCKETS, KeyReading, Metrics, Readings
from gateway.web.operations import Part, build_operations, summarize
from tests.fakes import make_call, make_identity, make_record, make_user


def client_for(parts: Sequence[Part], metrics: Metrics | None = None) -> httpx2.AsyncClient:
    async def read_parts() -> Sequence[Part]:
        return parts

    registry = (metrics or Metrics(Readings)).registry
    application = build_operations("example", read_parts, registry)
    transport = httpx2.ASGITransport(app=application)
    return httpx2.AsyncClient(transport=transport, base_url="http://operations")


def samples(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of an exposition by its name and labels, without creation times."""
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def granted_record() -> AuditRecord:
    """A read by alice that took 30 ms, 20 of them at slurmrestd."""
    return make_record(
        identity=make_identity(),
        user=make_user("canary-user"),
        call=make_call(risk=Risk.READ_HEAVY),
        granted=True,
        status=200,
        total_seconds=0.03,
        upstream_seconds=0.02,
    )


GOOD, BAD = Part("keys", True), Part("audit", False, "the disk is full")
TOLD = Part("upstream", False, "refused", informational=True)


@pytest.mark.parametrize(
    ("parts", "ready"),
    [
        ([GOOD], True),
        ([GOOD, BAD], False),
        ([GOOD, TOLD], True),
        ([TOLD], False),
        ([], False),
    ],
    ids=["all good", "one bad", "a bad one that is only told", "only told", "nothing known"],
)
async def test_ready_only_if_every_part_that_counts_is(parts: list[Part], ready: bool) -> None:
    answer = await client_for(parts).get("/readyz")
    assert answer.status_code == (200 if ready else 503)
    body = answer.json()
    assert body["ready"] is ready
    assert body["cluster"] == "example"
    assert {name: part["ok"] for name, part in body["parts"].items()} == {
        part.name: part.is_ready for part in parts
    }
    assert answer.headers["cache-control"] == "no-store"


async def test_healthz_is_well_while_the_process_answers_whatever_is_broken() -> None:
    answer = await client_for([BAD]).get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_nothing_else_is_there_and_nothing_is_written() -> None:
    client = client_for([GOOD])
    assert (await client.get("/slurm/v0.0.42/jobs")).status_code == 404
    assert (await client.post("/readyz")).status_code == 405


def test_a_part_says_why() -> None:
    assert summarize([BAD])[1] == {"audit": {"ok": False, "detail": "the disk is full"}}


async def test_metrics_are_exposed_as_prometheus_asks() -> None:
    metrics = Metrics(Readings)
    metrics.observe(granted_record())
    answer = await client_for([GOOD], metrics).get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert b"slurm_gateway_requests_total" in answer.content


def test_a_request_is_counted_by_method_class_verdict_and_status() -> None:
    metrics = Metrics(Readings)
    for _ in range(3):
        metrics.observe(granted_record())
    labels = {"method": "GET", "risk": "READ-HEAVY"}
    found = samples(metrics)
    counted = frozenset({**labels, "verdict": "granted", "status": "200"}.items())
    assert found["slurm_gateway_requests_total", counted] == 3
    for name, seconds in (("request", 0.03), ("upstream", 0.02)):
        family = f"slurm_gateway_{name}_duration_seconds"
        assert found[f"{family}_count", frozenset(labels.items())] == 3
        assert found[f"{family}_sum", frozenset(labels.items())] == pytest.approx(3 * seconds)


def test_a_refusal_is_counted_by_its_code_and_has_no_upstream_time() -> None:
    metrics = Metrics(Readings)
    record = make_record(total_seconds=0.001)
    note_denial(record, Denied(Reason.TOKEN_MISSING))
    metrics.observe(record)
    found = samples(metrics)
    assert found["slurm_gateway_refusals_total", frozenset({("code", "token-missing")})] == 1
    labels = frozenset({("method", "GET"), ("risk", "none")})
    assert found["slurm_gateway_upstream_duration_seconds_count", labels] == 0


def test_buckets_are_those_of_opentelemetry() -> None:
    metrics = Metrics(Readings)
    metrics.observe(granted_record())
    bounds = sorted(
        float(dict(labels)["le"])
        for name, labels in samples(metrics)
        if name == "slurm_gateway_request_duration_seconds_bucket"
    )
    assert bounds == [*BUCKETS, float("inf")]


def test_no_client_can_make_up_labels() -> None:
    """Methods come from the wire before anything is refused."""
    metrics = Metrics(Readings)
    for number in range(100):
        metrics.observe(make_record(method=f"X{number}", status=405, code="method-not-allowed"))
    counted = [
        labels for name, labels in samples(metrics) if name == "slurm_gateway_requests_total"
    ]
    assert len(counted) == 1
    assert ("method", "_OTHER") in counted[0]


def test_no_user_subject_path_or_token_hash_is_in_any_series() -> None:
    metrics = Metrics(Readings)
    record = granted_record()
    record.raw_target, record.token_hash = "/canary-path", "canary-hash"
    record.note = "canary-note"
    metrics.observe(record)
    text = generate_latest(metrics.registry).decode()
    assert "canary" not in text
    assert "subject-of-alice" not in text


def test_running_parts_are_read_when_somebody_asks() -> None:
    now = Readings(generation=1)
    metrics = Metrics(lambda: now)
    assert samples(metrics)["slurm_gateway_generation", frozenset()] == 1
    now = Readings(
        generation=2,
        client_connections=7,
        queue_length=3,
        pool_in_use=4,
        pool_idle=5,
        keys=(KeyReading("https://a", 12.5, 3, 1), KeyReading("https://b", None, 0, 9)),
        audit_lines=100,
        audit_failures=2,
        audit_dropped=3,
        audit_head=("c0ffee", 99, "beef"),
    )
    found = samples(metrics)
    shown = {
        name.removeprefix("slurm_gateway_"): value
        for (name, labels), value in found.items()
        if not labels
    }
    head = frozenset({("chain", "c0ffee"), ("mac", "beef")})
    assert found["slurm_gateway_audit_head", head] == 99
    assert shown == {
        "generation": 2,
        "audit_dropped_total": 3,
        "client_connections": 7,
        "queue_length": 3,
        "pool_in_use": 4,
        "pool_idle": 5,
        "audit_lines_total": 100,
        "audit_failures_total": 2,
        "connections_refused_total": 0,
    }
    assert found["slurm_gateway_keys_age_seconds", frozenset({("issuer", "https://a")})] == 12.5
    assert found["slurm_gateway_keys_failures_total", frozenset({("issuer", "https://b")})] == 9
    assert ("slurm_gateway_keys_age_seconds", frozenset({("issuer", "https://b")})) not in found
