"""Rows of a run -> a verdict on every target: met, missed, or not measured."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.cells import CELLS
from benchmarks.results import Row
from benchmarks.verdicts import TARGETS, judge

ROW = Row(
    cell="",
    variant="gateway",
    connections=1,
    requests_per_second=20_000.0,
    ratio_to_haproxy=None,
    ratio_to_apache=None,
    ratio_to_direct=None,
    p50_ms=1.0,
    p99_ms=2.0,
    cpu_us_per_request=40.0,
    memory_growth_mb=1.0,
    errors=0,
    megabytes_per_second=None,
    added_us=None,
    calls_per_second=None,
    slurmrestd_peak_mb=None,
    rounds=5,
)


def row(cell: str, **figures: Any) -> Row:
    return replace(ROW, cell=cell, **figures)


def met(target: str, *rows: Row) -> bool | None:
    return next(one for one in judge(rows) if one.target == target).met


HAPROXY_AND_APACHE = [
    ({"ratio_to_haproxy": 1.5, "ratio_to_apache": 2.0}, True),
    ({"ratio_to_haproxy": 1.49, "ratio_to_apache": 2.0}, False),
    ({"ratio_to_haproxy": 1.5, "ratio_to_apache": 1.99}, False),
    ({"ratio_to_haproxy": 1.5}, None),
    ({"ratio_to_haproxy": 1.4}, False),
    ({}, None),
]


@pytest.mark.parametrize("cell", ["stub-64", "stub-16", "stub-64-100kb", "stub-16-100kb"])
@pytest.mark.parametrize(("figures", "wanted"), HAPROXY_AND_APACHE)
def test_small_and_middling_answers_are_held_to_both_peers(
    cell: str, figures: dict[str, float], wanted: bool | None
) -> None:
    target = next(one for one in TARGETS if one.cell == cell and "Apache" in one.text)
    assert met(target.text, row(cell, **figures)) is wanted


@pytest.mark.parametrize(
    ("target", "cell", "figures", "wanted"),
    [
        (
            "2,000 tokens, at least 1.2 of HAProxy",
            "stub-64-tokens",
            {"ratio_to_haproxy": 1.2},
            True,
        ),
        (
            "2,000 tokens, at least 1.2 of HAProxy",
            "stub-64-tokens",
            {"ratio_to_haproxy": 1.1},
            False,
        ),
        ("1 connection, at most 40 us added", "slurm-1", {"added_us": 40.0}, True),
        ("1 connection, at most 40 us added", "slurm-1", {"added_us": 41.0}, False),
        ("1 connection, at most 100 us added", "slurm-1", {"added_us": 41.0}, True),
        ("50 MB upload, growth under 16 MB", "stub-50mb-up", {"memory_growth_mb": 15.9}, True),
        ("50 MB upload, growth under 16 MB", "stub-50mb-up", {"memory_growth_mb": 16.0}, False),
        (
            "50 MB upload from a slow writer, growth under 16 MB",
            "stub-50mb-up-slow",
            {"memory_growth_mb": 17.0},
            False,
        ),
        (
            "two processes, at least 1.6 of HAProxy",
            "stub-64-two",
            {"ratio_to_haproxy": 1.59},
            False,
        ),
        (
            "cache, at least 20 times the direct rate",
            "slurm-cache",
            {"ratio_to_direct": 20.0},
            True,
        ),
        (
            "cache, at least 20 times the direct rate",
            "slurm-cache",
            {"ratio_to_direct": 19.9},
            False,
        ),
        ("cache, at most one call a second", "slurm-cache", {"calls_per_second": 1.0}, True),
        ("cache, at most one call a second", "slurm-cache", {"calls_per_second": 1.01}, False),
        (
            "cache, slurmrestd's memory at most 300 MB",
            "slurm-cache",
            {"slurmrestd_peak_mb": 301.0},
            False,
        ),
        (
            "submits, at least 0.9 of the direct rate",
            "slurm-16-submits",
            {"ratio_to_direct": 0.9},
            True,
        ),
        (
            "200 MB answer, at least HAProxy's MB/s, growth under 16 MB",
            "stub-200mb",
            {"megabytes_per_second": 900.0, "ratio_to_haproxy": 0.99},
            False,
        ),
        (
            "200 MB answer, at least 800 MB/s or 0.6 of HAProxy, growth under 16 MB",
            "stub-200mb",
            {"megabytes_per_second": 900.0, "ratio_to_haproxy": 0.5},
            True,
        ),
        (
            "200 MB answer, at least HAProxy's MB/s, growth under 16 MB",
            "stub-200mb",
            {"megabytes_per_second": 900.0, "ratio_to_haproxy": 1.1, "memory_growth_mb": 20.0},
            False,
        ),
    ],
)
def test_each_target_is_met_at_its_bound_and_missed_beyond_it(
    target: str, cell: str, figures: dict[str, float], wanted: bool
) -> None:
    assert met(target, row(cell, **figures)) is wanted


def test_slurmrestds_memory_stands_beside_what_it_is_without_a_gateway() -> None:
    direct = row("slurm-cache", variant="direct", slurmrestd_peak_mb=1400.0)
    ours = row("slurm-cache", slurmrestd_peak_mb=250.0)
    measured = {one.measured: one.met for one in judge([direct, ours])}
    assert measured["250 MB beside 1400 MB direct"] is True


def test_what_was_not_run_is_not_measured_and_not_missed() -> None:
    verdicts = judge([row("stub-64", variant="haproxy")])
    assert {one.met for one in verdicts[:-1]} == {None}
    assert verdicts[-1].line == "met          no errors: 0"


def test_an_error_of_any_variant_is_named() -> None:
    verdict = judge([row("stub-1", variant="express", errors=2)])[-1]
    assert (verdict.met, verdict.measured) == (False, "express stub-1 2")


def test_every_target_is_of_a_cell_that_is_measured_and_has_a_text_of_its_own() -> None:
    assert {target.cell for target in TARGETS} <= {cell.name for cell in CELLS}
    assert len({target.text for target in TARGETS}) == len(TARGETS)
