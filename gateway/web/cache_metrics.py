"""What cache and breaker count -> Prometheus series. Whose an answer is, is never a label."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric


class CacheReading(NamedTuple):
    """What is kept now, and what became of reads so far. `answers` are by outcome."""

    entries: int
    used_bytes: int
    maximum_bytes: int
    answers: Mapping[str, int]
    not_modified: int
    calls: int


class BreakerReading(NamedTuple):
    """One daemon of Slurm, as the breaker sees it."""

    daemon: str
    is_open: bool
    openings: int
    refusals: int


def cache_families(cache: CacheReading | None) -> Iterator[Metric]:
    """Nothing where there is no cache."""
    if cache is None:
        return
    gauges = {
        "entries": ("Answers in memory.", cache.entries),
        "bytes": (
            "Memory for answers, what is made of them and calls under way.",
            cache.used_bytes,
        ),
        "maximum_bytes": ("The bound of it.", cache.maximum_bytes),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"slurm_gateway_cache_{name}", text, value)
    answers = CounterMetricFamily(
        "slurm_gateway_cache_answers", "Reads that may be kept, by outcome.", labels=["outcome"]
    )
    for outcome, count in cache.answers.items():
        answers.add_metric([outcome], count)
    yield answers
    yield CounterMetricFamily(
        "slurm_gateway_cache_not_modified", "Of these, answered with 304.", cache.not_modified
    )
    yield CounterMetricFamily(
        "slurm_gateway_cache_upstream_calls", "Calls of slurmrestd for these.", cache.calls
    )


def breaker_families(breakers: tuple[BreakerReading, ...]) -> Iterator[Metric]:
    """Nothing where there is no breaker."""
    if not breakers:
        return
    is_open = GaugeMetricFamily(
        "slurm_gateway_breaker_open",
        "Whether calls to this daemon are refused at once.",
        labels=["daemon"],
    )
    openings = CounterMetricFamily(
        "slurm_gateway_breaker_openings", "Times that this began.", labels=["daemon"]
    )
    refusals = CounterMetricFamily(
        "slurm_gateway_breaker_refused", "Calls that were refused so.", labels=["daemon"]
    )
    for reading in breakers:
        labels = [reading.daemon]
        is_open.add_metric(labels, int(reading.is_open))
        openings.add_metric(labels, reading.openings)
        refusals.add_metric(labels, reading.refusals)
    yield from (is_open, openings, refusals)
