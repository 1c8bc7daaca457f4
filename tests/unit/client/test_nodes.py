"""States of nodes are sinfo's words, and what is typed to choose nodes chooses what sinfo chooses, or is refused."""

from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import main
from gateway.client.node import read_node
from gateway.client.node_choice import make_node_choice, require_flags
from gateway.client.trouble import Exit, Trouble
from tests.client_world import Told, scripted_gateway
from tests.unit.client.test_bad_input import environment


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("IDLE", "idle"),
        ("IDLE CLOUD POWERED_DOWN", "idle~"),
        ("IDLE CLOUD NOT_RESPONDING POWERING_UP", "idle#"),
        ("IDLE POWERING_DOWN", "idle%"),
        ("IDLE CLOUD DRAIN POWERED_DOWN", "drain~"),
        ("DOWN CLOUD POWERED_DOWN", "down~"),
        ("IDLE NOT_RESPONDING", "idle*"),
        ("IDLE FAIL", "fail"),
        ("MIXED FAIL PLANNED", "fail"),
        ("MIXED PLANNED", "mix-"),
        ("MIXED DRAIN PLANNED", "drng"),
        ("IDLE PLANNED", "plnd"),
        ("MIXED RESERVED", "mix"),
        ("MIXED RESERVED MAINTENANCE REBOOT_REQUESTED PLANNED", "mix$"),
        ("IDLE RESERVED MAINTENANCE PLANNED", "maint"),
        ("DOWN REBOOT_ISSUED", "boot^"),
    ],
)
def test_a_state_is_the_word_and_the_mark_of_sinfo(state: str, shown: str) -> None:
    """As sinfo of 22.05 and 24.11 showed each of them."""
    assert read_node({"name": "n1", "state": state.split()}).state == shown
    base, *flags = state.split()
    assert read_node({"name": "n1", "state": base.lower(), "state_flags": flags}).state == shown


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("ALLOCATED FAIL", "failg"),
        ("ALLOCATED COMPLETING", "alloc+"),
        ("IDLE COMPLETING", "comp"),
        ("DOWN COMPLETING", "down"),
        ("IDLE REBOOT_REQUESTED", "idle@"),
        ("IDLE POWER_DOWN", "idle!"),
    ],
)
def test_a_state_is_what_the_page_of_sinfo_says(state: str, shown: str) -> None:
    assert read_node({"name": "n1", "state": state.split()}).state == shown


NODES = {
    "node1": ["IDLE"],
    "node2": ["MIXED"],
    "node3": ["ALLOCATED", "NOT_RESPONDING"],
    "node10": ["IDLE", "DRAIN"],
    "node11": ["MIXED", "DRAIN"],
    "gpu01": ["IDLE", "POWERED_DOWN"],
    "gpu02": ["MIXED", "PLANNED"],
}


def chosen(names: str | None = None, states: str | None = None) -> str:
    choice = make_node_choice(names, states, None)
    nodes = [read_node({"name": name, "state": state}) for name, state in NODES.items()]
    return " ".join(node.name for node in nodes if choice.fits(node))


@pytest.mark.parametrize(
    ("states", "names"),
    [
        ("allocated", "node3"),
        ("alloc", "node3"),
        ("mixed", "node2 gpu02"),
        ("MIX", "node2 gpu02"),
        ("idle", "node1 gpu01"),
        ("drain", "node10 node11"),
        ("drained", "node10"),
        ("draining", "node11"),
        ("powered_down,planned", "gpu01 gpu02"),
        ("idle~", "node1 gpu01"),
        ("no_respond", "node3"),
        ("down", ""),
        ("", "node1 node2 node3 node10 node11 gpu01 gpu02"),
    ],
)
def test_a_state_is_typed_in_sinfos_long_and_short_words(states: str, names: str) -> None:
    assert chosen(states=states) == names


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("node1", "node1"),
        ("node[1-3]", "node1 node2 node3"),
        ("node[1,10-11],gpu[01-16]", "node1 node10 node11 gpu01 gpu02"),
        ("gpu[1-2]", ""),
        ("NODE1, node2,", "node1 node2"),
        ("n[o]de1x,node[1-1][0-1]", None),
        ("node[1-1][0-1]", "node10 node11"),
    ],
)
def test_a_list_of_nodes_is_slurms(typed: str, names: str | None) -> None:
    if names is None:
        with pytest.raises(Trouble, match="no list of nodes"):
            chosen(typed)
    else:
        assert chosen(typed) == names


@pytest.mark.parametrize(
    ("option", "typed"),
    [
        ("-t", "idel"),
        ("-t", "RUNNING"),
        ("-n", "node[1-"),
        ("-n", "node[3-1]"),
        ("-n", "node[1-9][1-99999]"),
        ("-n", "node 1"),
        ("-n", "node[]"),
        ("-n", "node[1,]"),
    ],
)
def test_what_is_no_state_and_no_list_is_refused_before_anything_is_asked(
    tmp_path: Path, option: str, typed: str
) -> None:
    with scripted_gateway() as site:
        site.tell("GET /slurm/v0.0.42/nodes", Told(200, {"nodes": []}))
        done = CliRunner().invoke(
            main, ["nodes", option, typed], env=environment(site.url, tmp_path)
        )
    assert (done.exit_code, site.heard) == (Exit.WRONG_CALL, []), done.output
    assert typed.lower() in done.stderr


def test_a_state_that_an_api_version_never_says_is_refused_there() -> None:
    require_flags(make_node_choice(None, "idle,alloc,down", None), 36)
    require_flags(make_node_choice(None, "drain,mix", None), 37)
    for word in ("drain", "mixed", "powered_down"):
        with pytest.raises(Trouble, match=r"API v0\.0\.36 does not say"):
            require_flags(make_node_choice(None, word, None), 36)


@given(st.text(alphabet="ab0129[],- ", max_size=14))
def test_any_list_is_read_or_refused(typed: str) -> None:
    with suppress(Trouble):
        make_node_choice(typed, typed, typed)
