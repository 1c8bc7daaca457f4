"""Rounds in turns -> medians and ratios within each round; a cell asks whom it compares."""

from dataclasses import replace
from pathlib import Path

import pytest
from joserfc.jwk import RSAKey

from benchmarks.__main__ import asked
from benchmarks.cells import CELLS, Cell, Group, Upstream
from benchmarks.identity import Provider
from benchmarks.lineup import Lineup
from benchmarks.measure import Effort, Measure, Subject
from benchmarks.report import EXTRA, FIGURES, as_markdown, as_text
from benchmarks.results import make_rows
from benchmarks.rounds import WARM_UP, run_rounds
from benchmarks.scene import Backend, Endpoint
from benchmarks.variants import VARIANTS

EFFORT = Effort(seconds=3, pairs=1, downloads=1)
BACKEND = Backend("stub", 1, "", "", "", "nobody", "unchecked", Path("key"))
MEASURE = Measure(100.0, 1.0, 2.0, 0, None, None)


@pytest.fixture(scope="module")
def provider() -> Provider:
    """Without files: nobody connects."""
    nowhere = Path("nowhere")
    return Provider(nowhere, nowhere, nowhere, nowhere, RSAKey.generate_key(2048))


def lineup(provider: Provider, *names: str) -> Lineup:
    endpoint = Endpoint(1, tls=False, headers={})
    direct = Subject("direct", endpoint, BACKEND, provider, tree=None)
    return Lineup(direct, [replace(direct, name=name) for name in names])


class Recorder:
    """A measurement that notes whom it asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, subject: Subject, direct: Subject, effort: Effort) -> Measure:
        self.asked.append((subject.name, effort is WARM_UP))
        return MEASURE


def cell(measurement: Recorder, **more: object) -> Cell:
    names = ("direct", "haproxy", "apache", "gateway", *"abc")
    made = Cell("stub-64", "a title", Group(Upstream.STUB), 64, measurement, names)
    return replace(made, **more)  # type: ignore[arg-type]


def test_each_round_starts_with_another_variant_after_all_are_warm(provider: Provider) -> None:
    recorder = Recorder()
    rounds = run_rounds(cell(recorder), lineup(provider, "a", "b", "c"), 2, EFFORT)
    assert [name for name, _ in recorder.asked] == [*"abc", *"abc", *"bca"]
    assert [warm for _, warm in recorder.asked] == [True] * 3 + [False] * 6
    assert len(rounds) == 2


def test_only_those_whom_a_cell_compares_are_asked(provider: Provider) -> None:
    recorder = Recorder()
    run_rounds(cell(recorder, variants=("b",)), lineup(provider, "a", "b"), 1, EFFORT)
    assert recorder.asked == [("b", True), ("b", False)]


def test_without_anybody_to_ask_there_are_no_rows(provider: Provider) -> None:
    one = cell(Recorder(), variants=("b",))
    assert make_rows(one, run_rounds(one, lineup(provider, "a"), 3, EFFORT)) == []


def test_a_cell_may_be_warmed_by_something_else(provider: Provider) -> None:
    recorder, warm = Recorder(), Recorder()
    run_rounds(cell(recorder, warmed_by=warm, maximum_rounds=1), lineup(provider, "a"), 5, EFFORT)
    assert (recorder.asked, warm.asked) == ([("a", False)], [("a", True)])


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    def at(speed: float) -> Measure:
        return replace(MEASURE, requests_per_second=speed)

    speeds = [(100, 50, 200), (10, 1, 20), (50, 25, 150)]
    rounds = [
        {"haproxy": at(a), "apache": at(b), "direct": at(b), "gateway": at(c)} for a, b, c in speeds
    ]
    row = make_rows(cell(Recorder()), rounds)[-1]
    assert (row.ratio_to_haproxy, row.ratio_to_apache, row.ratio_to_direct) == (2, 6, 6)


def test_a_reference_that_answered_nothing_gives_no_ratio() -> None:
    nothing = replace(MEASURE, requests_per_second=0.0)
    rows = make_rows(cell(Recorder()), [{"direct": nothing, "gateway": MEASURE}])
    assert rows[1].ratio_to_direct is None


def test_the_table_has_a_column_for_each_figure_of_the_cell() -> None:
    for name, titles in EXTRA.items():
        one = next(made for made in CELLS if made.name == name)
        rows = make_rows(one, [{"gateway": replace(MEASURE, added_us=7.0)}])
        assert all(title in as_text(rows) for title in titles)
        assert set(titles) <= set(FIGURES)
        assert f"**{name}**" in as_markdown(rows, [], [], "")


def test_a_group_starts_no_variant_that_none_of_its_cells_compares() -> None:
    tls = next(one for one in CELLS if one.name == "stub-64-tls")
    names = [one.name for one in asked(CELLS, tls.group, VARIANTS)]
    assert names == ["nginx", "haproxy", "apache", "gateway"]


def test_every_cell_names_variants_that_there_are() -> None:
    known = {one.name for one in VARIANTS}
    assert all(set(one.variants) <= known for one in CELLS)
    assert len({one.name for one in CELLS}) == len(CELLS)


def test_groups_have_folders_of_their_own() -> None:
    groups = {one.group for one in CELLS}
    assert len({group.name for group in groups}) == len(groups)
