"""AuditRecord -> Prometheus series. No user, subject or path is ever a label."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.model import AuditRecord
from gateway.web.cache_metrics import (
    BreakerReading,
    CacheReading,
    breaker_families,
    cache_families,
)

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""OpenTelemetry's advice for http.server.request.duration, in seconds."""

_METHODS = frozenset({"GET", "POST", "DELETE"})


class KeyReading(NamedTuple):
    """The key cache of one issuer. `age_seconds` is None before the first keys came."""

    issuer: str
    age_seconds: float | None
    fetches: int
    failures: int


class StoreReading(NamedTuple):
    """The store that processes share. `missed` are questions it did not answer, by what they were for."""

    is_available: bool
    missed: Mapping[str, int]


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
    audit_dropped: int = 0
    audit_head: tuple[str, int, str] | None = None
    """(chain, number, MAC) of a line that is on disk."""
    failed_authentications: Mapping[str, int] = MappingProxyType({})
    refused_attempts: Mapping[str, int] = MappingProxyType({})
    store: StoreReading | None = None
    cache: CacheReading | None = None
    breakers: tuple[BreakerReading, ...] = ()


class _Times:
    """Durations of one kind, counted by bucket; the last bucket has no bound."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def cumulative(self) -> list[tuple[str, float]]:
        """As Prometheus has it: each bucket counts the smaller ones too."""
        seen = 0
        shown = []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            seen += count
            shown.append((bound, float(seen)))
        return shown


class _Tally:
    """Requests of one method, class, verdict and status; the times are shared over the latter two."""

    __slots__ = ("count", "duration", "upstream")

    def __init__(self, duration: _Times, upstream: _Times) -> None:
        self.count = 0
        self.duration = duration
        self.upstream = upstream


_Key = tuple[str, str, bool, int]


class Metrics:
    """The series of one process, in a registry of their own.

    Counted in plain integers, by the one thread that serves, because every request pays for it: the
    library's own counters each take a lock (0.4 microseconds a request here, 1.5 with them).
    """

    def __init__(self, read: Callable[[], Readings]) -> None:
        self.registry = CollectorRegistry()
        self.tallies: dict[_Key, _Tally] = {}
        self.times: dict[tuple[str, str], tuple[_Times, _Times]] = {}
        self.refusals: dict[str, int] = {}
        self.overflows = 0
        self.registry.register(_Counted(self))
        self.registry.register(_Running(read))

    def observe(self, record: AuditRecord) -> None:
        """Count one finished request."""
        call = record.call
        key = (record.method, call.risk if call else "none", record.granted, record.status)
        tally = self.tallies.get(key) or self._tally(key)
        tally.count += 1
        total, upstream = record.total_seconds, record.upstream_seconds
        times = tally.duration
        times.counts[bisect_left(BUCKETS, total)] += 1
        times.total += total
        if upstream:
            times = tally.upstream
            times.counts[bisect_left(BUCKETS, upstream)] += 1
            times.total += upstream
        if record.code:
            self.refusals[record.code] = self.refusals.get(record.code, 0) + 1

    def count_overflow(self) -> None:
        """Count a client connection that was closed because there were too many."""
        self.overflows += 1

    def _tally(self, key: _Key) -> _Tally:
        """Methods come from the wire before anything is refused: unknown ones share one label."""
        method, risk, granted, status = key
        shown = method if method in _METHODS else "_OTHER"
        key = (shown, str(risk), granted, status)
        if key not in self.tallies:
            times = self.times.setdefault((shown, str(risk)), (_Times(), _Times()))
            self.tallies[key] = _Tally(*times)
        return self.tallies[key]


class _Counted(Collector):
    """What Metrics has counted."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Requests, refusals and times."""
        requests = CounterMetricFamily(
            "slurm_gateway_requests",
            "Requests by method, risk class of the operation, verdict and status.",
            labels=["method", "risk", "verdict", "status"],
        )
        for (method, risk, granted, status), tally in self._metrics.tallies.items():
            verdict = "granted" if granted else "denied"
            requests.add_metric([method, risk, verdict, str(status)], tally.count)
        refusals = CounterMetricFamily(
            "slurm_gateway_refusals",
            "Requests that the gateway refused or could not finish, by code.",
            labels=["code"],
        )
        for code, count in self._metrics.refusals.items():
            refusals.add_metric([code], count)
        yield from (requests, refusals)
        yield CounterMetricFamily(
            "slurm_gateway_connections_refused",
            "Client connections above server.connections, closed unanswered.",
            self._metrics.overflows,
        )
        yield self._histogram("request", "From the whole head to the last byte.", 0)
        yield self._histogram("upstream", "The part of it spent on slurmrestd.", 1)

    def _histogram(self, name: str, text: str, which: int) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            f"slurm_gateway_{name}_duration_seconds", text, labels=["method", "risk"]
        )
        for (method, risk), times in self._metrics.times.items():
            family.add_metric([method, risk], times[which].cumulative(), times[which].total)
        return family


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
        yield CounterMetricFamily(
            "slurm_gateway_audit_dropped",
            "Lines that a sink which is not required did not get.",
            now.audit_dropped,
        )
        yield _by_label(
            "slurm_gateway_failed_authentications",
            "Tokens that did not verify, by kind: unknown, or genuine but expired.",
            "kind",
            now.failed_authentications,
        )
        yield _by_label(
            "slurm_gateway_throttled_authentications",
            "Tokens that were not looked at after too many failures, by what had failed.",
            "by",
            now.refused_attempts,
        )
        yield from (*_key_families(now.keys), *_store_families(now.store))
        yield from (*cache_families(now.cache), *breaker_families(now.breakers))
        yield from _head_family(now.audit_head)


def _by_label(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _head_family(head: tuple[str, int, str] | None) -> Iterator[Metric]:
    if head is None:
        return
    chain, seq, mac = head
    family = GaugeMetricFamily(
        "slurm_gateway_audit_head",
        "The number of the audit's last head; with its MAC it proves that no line before is missing.",
        labels=["chain", "mac"],
    )
    family.add_metric([chain, mac], seq)
    yield family


def _store_families(store: StoreReading | None) -> Iterator[Metric]:
    if store is None:
        return
    yield GaugeMetricFamily(
        "slurm_gateway_store_available", "Whether the store answers.", int(store.is_available)
    )
    yield _by_label(
        "slurm_gateway_store_missed",
        "Questions that the store did not answer, by what they were for.",
        "use",
        store.missed,
    )


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
