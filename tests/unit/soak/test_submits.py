"""Rounds of submissions -> ratios within each round, and a table that says whether the target was met."""

import pytest

from soak.slow_slurm import Work
from soak.submit_rates import DURABILITIES, Cell, Round, as_markdown, ratios_to_off


def rounds(rates: dict[str, list[float]], slurm: str = "serial", errors: int = 0) -> list[Round]:
    """At 16 connections without a key, in turns as they are measured."""
    count = len(rates["off"])
    return [
        Round(slurm, 16, False, name, rates[name][number], 1.0, 2.0, 300.0, errors)
        for number in range(count)
        for name in DURABILITIES
    ]


def test_a_ratio_is_of_the_rounds_own_rate_and_not_of_the_medians() -> None:
    """What slowed the machine down for one round slowed both."""
    measured = rounds({"off": [100, 10, 50], "buffered": [1, 1, 1], "durable": [90, 9.5, 40]})
    assert ratios_to_off(measured, Cell("serial", 16, False, "durable")) == pytest.approx(
        [0.8, 0.9, 0.95]
    )


@pytest.mark.parametrize(("durable", "said"), [(95.0, "met"), (80.0, "MISSED")])
def test_the_table_says_whether_the_target_was_met(durable: float, said: str) -> None:
    measured = rounds({"off": [100.0], "buffered": [90.0], "durable": [durable]})
    measured += rounds({"off": [100.0], "buffered": [1.0], "durable": [1.0]}, "parallel", errors=3)
    text = as_markdown(measured, ["on a machine"])
    assert text.splitlines()[0] == "- on a machine"
    assert f"serial without a key {durable / 100:.2f}, {said}." in text
    assert (
        f"| serial | 16 | no | durable | {durable:.0f} | {durable / 100:.2f} | {durable / 100:.2f} to"
        in text
    )
    assert (
        "| parallel | 16 | no | durable | 1 | 0.01 | 0.01 to 0.01 | 1.00 | 2.00 | 300 | 3 |" in text
    )


def test_a_serial_slurm_takes_one_after_the_other_and_a_parallel_one_all_at_once() -> None:
    serial, parallel = Work(2.0, is_serial=True), Work(2.0, is_serial=False)
    assert [serial.begin(now) for now in (10.0, 10.0, 11.0, 30.0)] == [12.0, 14.0, 16.0, 32.0]
    assert [parallel.begin(now) for now in (10.0, 10.0, 11.0)] == [12.0, 12.0, 13.0]
