"""Nodes and partitions as slurmctld describes them in v0.0.36 to v0.0.45 -> the words of sinfo."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.client.values import member, number, text, whole, words

_SHORT = {
    "ALLOCATED": "alloc",
    "MIXED": "mix",
    "UNKNOWN": "unk",
    "COMPLETING": "comp",
    "RESERVED": "resv",
    "MAINTENANCE": "maint",
    "MAINT": "maint",
    "POWERED_DOWN": "pow_dn",
    "POWERING_DOWN": "pow_dn",
    "POWERING_UP": "pow_up",
    "PLANNED": "plnd",
    "ERROR": "error",
    "FUTURE": "futr",
}
_BUSY = frozenset({"ALLOCATED", "MIXED", "COMPLETING"})
_ABSENT = frozenset({"NOT_RESPONDING", "NO_RESPOND"})


@dataclass(frozen=True, slots=True)
class Node:
    """What sinfo says of a node; memory in MB."""

    name: str
    state: str
    """As sinfo prints it: idle, mix, drain, down*."""
    partitions: tuple[str, ...]
    cpus: int
    allocated_cpus: int
    sockets: int
    cores: int
    threads: int
    memory: int
    temporary_disk: int
    weight: int
    features: str
    gres: str
    reason: str
    release: str


@dataclass(frozen=True, slots=True)
class Partition:
    """What sinfo says of a partition."""

    name: str
    is_default: bool | None
    """None in versions that do not say: v0.0.39 to v0.0.44."""
    state: str
    """up, down, drain, inact; empty in versions that do not say."""
    limit_minutes: float | None
    nodes: str
    node_count: int


def read_node(content: Mapping[str, Any]) -> Node:
    """One element of `nodes`."""
    states = [word.upper() for word in words(content.get("state"))]
    states += [word.upper() for word in words(content.get("state_flags"))]
    return Node(
        name=text(content.get("name")),
        state=_node_state(states),
        partitions=words(content.get("partitions")),
        cpus=whole(content.get("cpus")),
        allocated_cpus=whole(content.get("alloc_cpus")),
        sockets=whole(content.get("sockets")),
        cores=whole(content.get("cores")),
        threads=whole(content.get("threads")),
        memory=whole(content.get("real_memory")),
        temporary_disk=whole(content.get("temporary_disk")),
        weight=whole(content.get("weight")),
        features=",".join(words(content.get("features"))),
        gres=text(content.get("gres")),
        reason=text(content.get("reason")),
        release=text(content.get("version") or content.get("slurmd_version")),
    )


def _node_state(states: list[str]) -> str:
    base, flags = (states[0] if states else "UNKNOWN"), frozenset(states[1:])
    suffix = "*" if flags & _ABSENT else ""
    if "DRAIN" in flags:
        busy = base in _BUSY or "COMPLETING" in flags
        return ("drng" if busy else "drain") + suffix
    special = next((one for one in ("MAINTENANCE", "RESERVED", "COMPLETING") if one in flags), base)
    return _SHORT.get(special, special.lower()) + suffix


def read_partition(content: Mapping[str, Any]) -> Partition:
    """One element of `partitions`: flat up to v0.0.38, in parts later."""
    nodes = content.get("nodes")
    in_parts = isinstance(nodes, Mapping)
    flags = [word.upper() for word in words(content.get("flags"))]
    states = words(member(content, "partition", "state") or content.get("state"))
    limited = member(content, "maximums", "time") if in_parts else content.get("max_time_limit")
    count = member(content, "nodes", "total") if in_parts else content.get("total_nodes")
    return Partition(
        name=text(content.get("name")),
        is_default="DEFAULT" in flags if "flags" in content else None,
        state=states[0].lower() if states else "",
        limit_minutes=number(limited),
        nodes=text(member(content, "nodes", "configured") if in_parts else nodes),
        node_count=whole(count),
    )
