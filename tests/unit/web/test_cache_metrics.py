"""Cache and breaker in the exposition: of one process, and of several, which are kept apart."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.web.all_workers import _OfAll
from gateway.web.cache_metrics import BreakerReading, CacheReading
from gateway.web.metrics import Metrics, Readings

CACHE = CacheReading(3, 5000, 9000, {"hit": 7, "miss": 2}, 4, 2)
BREAKERS = (BreakerReading("slurmctld", True, 2, 9), BreakerReading("slurmdbd", False, 0, 0))
NAMES = ("slurm_gateway_cache_", "slurm_gateway_breaker_")

Shown = dict[tuple[str, tuple[str, ...]], float]


def shown(exposition: bytes) -> Shown:
    return {
        (sample.name.removeprefix("slurm_gateway_"), tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
        if sample.name.startswith(NAMES) and not sample.name.endswith("_created")
    }


def exposition(readings: Readings) -> bytes:
    return generate_latest(Metrics(lambda: readings).registry)


def test_all_of_it_is_shown() -> None:
    assert shown(exposition(Readings(cache=CACHE, breakers=BREAKERS))) == {
        ("cache_entries", ()): 3,
        ("cache_bytes", ()): 5000,
        ("cache_maximum_bytes", ()): 9000,
        ("cache_answers_total", ("hit",)): 7,
        ("cache_answers_total", ("miss",)): 2,
        ("cache_not_modified_total", ()): 4,
        ("cache_upstream_calls_total", ()): 2,
        ("breaker_open", ("slurmctld",)): 1,
        ("breaker_open", ("slurmdbd",)): 0,
        ("breaker_openings_total", ("slurmctld",)): 2,
        ("breaker_openings_total", ("slurmdbd",)): 0,
        ("breaker_refused_total", ("slurmctld",)): 9,
        ("breaker_refused_total", ("slurmdbd",)): 0,
    }


def test_without_cache_and_breaker_there_is_nothing_of_them() -> None:
    assert shown(exposition(Readings())) == {}


def test_each_worker_has_its_own() -> None:
    """A sum would go back where one begins anew."""
    bodies = {
        1: exposition(Readings(cache=CACHE, breakers=BREAKERS)),
        2: exposition(Readings(cache=CACHE._replace(entries=1, answers={"hit": 1}))),
        3: b"",
    }
    registry = CollectorRegistry()
    registry.register(_OfAll(bodies))
    found = shown(generate_latest(registry))
    assert {found["cache_entries", ("1",)], found["cache_entries", ("2",)]} == {3, 1}
    assert found["cache_answers_total", ("hit", "1")] == 7
    assert found["cache_answers_total", ("hit", "2")] == 1
    assert found["breaker_open", ("slurmctld", "1")] == 1
    assert not any("3" in labels for _, labels in found)
