"""`nodes` -> one line for each node, as `sinfo --Node --long` prints them."""

import json
from dataclasses import asdict

import click

from gateway.client.node import Node, read_node
from gateway.client.node_choice import make_node_choice, require_flags
from gateway.client.opening import Cluster, open_cluster
from gateway.client.options import Options
from gateway.client.tables import print_table
from gateway.client.trouble import Exit

COLUMNS = (
    "NODELIST",
    "PARTITION",
    "STATE",
    "CPUS",
    "S:C:T",
    "MEMORY",
    "TMP_DISK",
    "WEIGHT",
    "AVAIL_FE",
    "GRES",
    "REASON",
)


def run(options: Options, names: str | None, states: str | None, partitions: str | None) -> int:
    """0, also where no node fits. Raises Trouble for a state or a list that is none, before anything is asked."""
    choice = make_node_choice(names, states, partitions)
    with open_cluster(options) as cluster:
        require_flags(choice, cluster.number)
        nodes = read_nodes(cluster)
    wanted = [node for node in nodes if choice.fits(node)]
    if options.as_json:
        click.echo(json.dumps([asdict(node) for node in wanted], indent=2))
    else:
        print_table(COLUMNS, [_row(node) for node in wanted])
    return Exit.DONE


def read_nodes(cluster: Cluster) -> list[Node]:
    """All nodes, in the order of their names. Raises Trouble."""
    content = cluster.get("/nodes").content
    nodes = [read_node(one) for one in content.get("nodes") or []]
    return sorted(nodes, key=lambda node: node.name)


def _row(node: Node) -> list[str]:
    return [
        node.name,
        ",".join(node.partitions) or "n/a",
        node.state,
        str(node.cpus),
        f"{node.sockets}:{node.cores}:{node.threads}",
        str(node.memory),
        str(node.temporary_disk),
        str(node.weight),
        node.features or "(null)",
        node.gres or "(null)",
        node.reason or "none",
    ]
