"""Parameters of lists, and which items they want, in the form of every version."""

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.denial import Denied
from gateway.model import Selection
from gateway.slurm_api import read_catalogue
from gateway.slurm_api.cursor import read_cursor, write_cursor
from gateway.slurm_api.selecting import tree_of
from gateway.slurm_api.selection import LISTINGS, Matcher, parameters_of, take_selection

ROWS = tomllib.loads((Path(__file__).parent / "selections.toml").read_text("utf-8"))
JOBS = "GET /slurm/*/jobs"
NODES = "GET /slurm/*/nodes"


@pytest.mark.parametrize("row", ROWS["taken"], ids=lambda row: str(row["query"]))
def test_what_is_wanted_is_taken_off_the_query(row: dict[str, Any]) -> None:
    operation = row.get("operation", JOBS)
    selection, rest = take_selection(operation, tuple(row["query"].items()))
    cursor = row.get("cursor")
    assert selection == Selection(
        operation,
        tuple(map(tuple, row.get("fields", []))),
        tuple((name, frozenset(values)) for name, values in row.get("wanted", {}).items()),
        row.get("limit", 0),
        None if cursor is None else (cursor[0], cursor[1]),
    )
    assert dict(rest) == row.get("rest", {})


@pytest.mark.parametrize("row", ROWS["refused"], ids=lambda row: str(row["query"]))
def test_what_is_not_known_is_refused_with_what_is(row: dict[str, Any]) -> None:
    with pytest.raises(Denied) as refusal:
        take_selection(row.get("operation", JOBS), tuple(row["query"].items()))
    assert refusal.value.reason.code == row["code"]
    assert row.get("says", "") in refusal.value.detail


def test_without_such_parameters_nothing_is_touched() -> None:
    query = (("update_time", "7"), ("flags", "DETAIL"))
    assert take_selection(JOBS, query) == (None, query)


def test_every_list_is_an_operation_and_no_parameter_of_slurms_has_such_a_name() -> None:
    entries = {entry.operation.name: entry for entry in read_catalogue().entries}
    assert set(LISTINGS) <= set(entries)
    assert not [one.name for entry in entries.values() for one in entry.query if "." in one.name]
    assert parameters_of(NODES) == ("state", "partition", "fields", "limit", "cursor")


@given(st.text(max_size=40), st.text(max_size=60))
def test_no_value_is_too_odd(name: str, value: str) -> None:
    for operation in (JOBS, NODES, "GET /slurm/*/diag"):
        for own in (f"gateway.{name}", "gateway.cursor", "gateway.fields", "gateway.limit"):
            with suppress(Denied):
                selection, rest = take_selection(operation, ((own, value),))
                assert selection is not None
                assert rest == ()


@given(st.integers(0, 999_999_999), st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_a_cursor_comes_back_as_it_was(place: int, name: str) -> None:
    assert read_cursor(write_cursor(place, name)) == (place, name[:200])


@given(st.text(max_size=50))
def test_no_cursor_is_too_odd(text: str) -> None:
    cursor = read_cursor(text)
    assert cursor is None or cursor[0] >= 0


OF_2011 = {
    "job_id": 1,
    "user_id": 1001,
    "user_name": "",
    "job_state": "RUNNING",
    "partition": "debug",
}
OF_2205 = {"job_id": 1, "user_name": "alice", "job_state": "RUNNING", "partition": "debug,batch"}
OF_2411 = {"job_id": 1, "user_name": "alice", "job_state": ["RUNNING", "COMPLETING"]}
ACCOUNTED = {"user": "alice", "association": {"user": "alice", "account": "physics"}}
ACCOUNTED |= {"state": {"current": "RUNNING"}, "partition": "debug"}
ACCOUNTED_NEW = {**ACCOUNTED, "state": {"current": ["RUNNING"], "reason": "None"}}


def matches(item: dict[str, Any], operation: str = JOBS, **wanted: str) -> bool:
    sets = tuple((name, frozenset(values.split(","))) for name, values in wanted.items())
    return Matcher(Selection(operation, wanted=sets), "alice", 1001)(item)


@pytest.mark.parametrize("item", [OF_2011, OF_2205, OF_2411, ACCOUNTED, ACCOUNTED_NEW])
def test_users_and_states_are_found_in_every_version(item: dict[str, Any]) -> None:
    assert matches(item, user="alice", state="RUNNING")
    assert matches(item, user="bob,alice")
    assert not matches(item, user="bob")
    assert not matches(item, user="alice", state="PENDING")
    assert matches(item)


@pytest.mark.parametrize(
    ("item", "wanted", "is_wanted"),
    [
        (OF_2205, {"partition": "batch"}, True),
        (OF_2205, {"partition": "bat"}, False),
        (OF_2411, {"state": "COMPLETING"}, True),
        (OF_2011, {"user": "1001"}, True),
        (OF_2011, {"user": "1002"}, False),
        (ACCOUNTED, {"account": "physics"}, True),
        (ACCOUNTED, {"account": "biology"}, False),
        ({}, {"user": "alice"}, False),
        ({"user_name": None, "user_id": {"number": 1001}}, {"user": "alice"}, False),
    ],
)
def test_an_item_is_wanted_or_not(
    item: dict[str, Any], wanted: dict[str, str], is_wanted: bool
) -> None:
    assert matches(item, **wanted) is is_wanted


@pytest.mark.parametrize(
    ("node", "state"),
    [
        ({"state": "idle", "state_flags": ["DRAIN"]}, "DRAIN"),
        ({"state": "idle", "state_flags": []}, "IDLE"),
        ({"state": ["IDLE", "DRAIN"]}, "DRAIN"),
    ],
)
def test_states_of_nodes_are_found_in_every_version(node: dict[str, Any], state: str) -> None:
    assert matches(node, NODES, state=state)
    assert not matches(node, NODES, state="DOWN")


def test_a_whole_member_wins_over_a_part_of_it() -> None:
    paths = (("time", "start"), ("time",), ("a", "b"), ("a", "c"))
    assert tree_of(paths) == {"time": None, "a": {"b": None, "c": None}}
