"""AuditRecord -> Prometheus series. No user, subject or path is ever a label."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.model import AuditRecord

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""OpenTelemetry's advice for http.server.request.duration, in seconds."""

_METHODS = frozenset({"GET", "POST", "DELETE"})


class KeyReading(NamedTuple):
    """The key cache of one issuer. `age_seconds` is None before the first keys came."""

    issuer: str
    age_seconds: float | None
    fetches: int
    failures: int


class Readings(NamedTuple):
    """What is read off the running parts when somebody asks."""

    generation: int = 1
    client_connections: int = 0
    queue_length: int = 0
    pool_in_use: int = 0
    pool_idle: int = 0
    keys: tuple[KeyReading, ...] = ()
    audit_lines: int = 0
    audit_failures: int = 0


class Metrics:
    """The series of one process, in a registry of their own."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "slurm_gateway_requests",
            "Requests by method, risk class of the operation, verdict and status.",
            ["method", "risk", "verdict", "status"],
            registry=self.registry,
        )
        self._refusals = Counter(
            "slurm_gateway_refusals",
            "Requests that the gateway refused or could not finish, by code.",
            ["code"],
            registry=self.registry,
        )
        self._duration = self._histogram(
            "slurm_gateway_request_duration_seconds", "From the whole head to the last byte."
        )
        self._upstream = self._histogram(
            "slurm_gateway_upstream_duration_seconds", "The part of it spent on slurmrestd."
        )
        self._bound: dict[tuple[str, str, bool, int], tuple[Counter, Histogram, Histogram]] = {}
        self._bound_codes: dict[str, Counter] = {}
        self.registry.register(_Running(read))

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(name, text, ["method", "risk"], registry=self.registry, buckets=BUCKETS)

    def observe(self, record: AuditRecord) -> None:
        """Count one finished request."""
        risk = record.call.risk if record.call else "none"
        key = (record.method, risk, record.granted, record.status)
        requests, duration, upstream = self._bound.get(key) or self._bind(key)
        requests.inc()
        duration.observe(record.total_seconds)
        if record.upstream_seconds:
            upstream.observe(record.upstream_seconds)
        if record.code:
            self._refusal(record.code).inc()

    def _bind(self, key: tuple[str, str, bool, int]) -> tuple[Counter, Histogram, Histogram]:
        """Look the children up once. Only known methods are kept, or clients could fill memory."""
        method, risk, granted, status = key
        shown = method if method in _METHODS else "_OTHER"
        verdict = "granted" if granted else "denied"
        bound = (
            self._requests.labels(shown, str(risk), verdict, str(status)),
            self._duration.labels(shown, str(risk)),
            self._upstream.labels(shown, str(risk)),
        )
        if shown == method:
            self._bound[key] = bound
        return bound

    def _refusal(self, code: str) -> Counter:
        child = self._bound_codes.get(code)
        if child is None:
            child = self._bound_codes[code] = self._refusals.labels(code)
        return child


class _Running(Collector):
    """Asks the running parts at each scrape, so that nothing is counted twice while they run."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: registering must not ask parts that do not run yet."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The gauges and counters that other parts keep."""
        now = self._read()
        gauges = {
            "generation": ("Configuration generation; it grows with each reload.", now.generation),
            "client_connections": ("Client connections open.", now.client_connections),
            "queue_length": ("Requests that wait for slurmrestd.", now.queue_length),
            "pool_in_use": ("Connections to slurmrestd in use.", now.pool_in_use),
            "pool_idle": ("Kept connections to slurmrestd.", now.pool_idle),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"slurm_gateway_{name}", text, value)
        yield CounterMetricFamily(
            "slurm_gateway_audit_lines", "Audit lines written.", now.audit_lines
        )
        yield CounterMetricFamily(
            "slurm_gateway_audit_failures", "Audit lines a sink refused.", now.audit_failures
        )
        yield from _key_families(now.keys)


def _key_families(keys: tuple[KeyReading, ...]) -> Iterator[Metric]:
    age = GaugeMetricFamily(
        "slurm_gateway_keys_age_seconds", "Age of the issuer's keys.", labels=["issuer"]
    )
    fetches = CounterMetricFamily(
        "slurm_gateway_keys_fetches", "Fetches of the issuer's keys.", labels=["issuer"]
    )
    failures = CounterMetricFamily(
        "slurm_gateway_keys_failures", "Fetches that failed.", labels=["issuer"]
    )
    for reading in keys:
        if reading.age_seconds is not None:
            age.add_metric([reading.issuer], reading.age_seconds)
        fetches.add_metric([reading.issuer], reading.fetches)
        failures.add_metric([reading.issuer], reading.failures)
    yield from (age, fetches, failures)
