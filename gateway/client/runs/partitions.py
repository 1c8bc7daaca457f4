"""`partitions` -> one line for each state of a partition's nodes, as sinfo prints them."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from gateway.client.node import Node, Partition, read_partition
from gateway.client.opening import open_cluster
from gateway.client.options import Options
from gateway.client.runs.nodes import read_nodes
from gateway.client.tables import print_table
from gateway.client.trouble import Exit
from gateway.client.values import hostlist, limit

COLUMNS = ("PARTITION", "AVAIL", "TIMELIMIT", "NODES", "STATE", "NODELIST")


def run(options: Options, names: str | None) -> int:
    """0, also where no partition fits."""
    wanted = {word.strip() for word in (names or "").split(",") if word.strip()}
    with open_cluster(options) as cluster:
        content = cluster.get("/partitions").content
        nodes = [] if options.as_json else read_nodes(cluster)
    partitions = [read_partition(one) for one in content.get("partitions") or []]
    found = [one for one in partitions if not wanted or one.name in wanted]
    if options.as_json:
        click.echo(json.dumps([_facts(one) for one in found], indent=2))
    else:
        print_table(COLUMNS, [row for one in found for row in _rows(one, nodes)])
    return Exit.DONE


def _facts(partition: Partition) -> dict[str, object]:
    limited = partition.limit_minutes not in (None, float("inf"))
    return {**asdict(partition), "limit_minutes": partition.limit_minutes if limited else None}


def _rows(partition: Partition, nodes: Sequence[Node]) -> list[list[str]]:
    """20.11 does not say which partitions a node is in: there the partition's own list has to do."""
    name = partition.name + ("*" if partition.is_default else "")
    head = [name, partition.state or "n/a", _limit(partition)]
    members = [node for node in nodes if partition.name in node.partitions]
    if not members and partition.nodes:
        states = {node.name: node.state for node in nodes}
        state = states.get(partition.nodes, "n/a")
        return [[*head, str(partition.node_count), state, partition.nodes]]
    states_found = dict.fromkeys(node.state for node in members)
    rows = []
    for state in states_found:
        names = [node.name for node in members if node.state == state]
        rows.append([*head, str(len(names)), state, hostlist(names)])
    return rows or [[*head, "0", "n/a", ""]]


def _limit(partition: Partition) -> str:
    shown = limit(partition.limit_minutes)
    return {"UNLIMITED": "infinite", "NOT_SET": "infinite"}.get(shown, shown)
