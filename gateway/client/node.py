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
    "PLANNED": "plnd",
    "ERROR": "error",
    "FUTURE": "futr",
}
_MAINTENANCE = frozenset({"MAINTENANCE", "MAINT"})
_MARKS = (
    (_MAINTENANCE, "$"),
    ({"REBOOT_ISSUED"}, "^"),
    ({"REBOOT_REQUESTED"}, "@"),
    ({"POWERING_UP"}, "#"),
    ({"POWERING_DOWN"}, "%"),
    ({"POWERED_DOWN"}, "~"),
    ({"POWER_DOWN"}, "!"),
    ({"NOT_RESPONDING", "NO_RESPOND"}, "*"),
)
"""Of several, sinfo shows the first (measured on 22.05 and 24.11)."""
_PLANNED, _ENDING_TOO = "-", "+"
MARKS = "".join(mark for _, mark in _MARKS) + _PLANNED + _ENDING_TOO
"""What may stand behind the word for a state."""


@dataclass(frozen=True, slots=True)
class Node:
    """What sinfo says of a node; memory in MB."""

    name: str
    state: str
    """As sinfo prints it: idle, mix, drain, down*, idle~."""
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
    word = _word(base, flags)
    return word + _mark(word, flags)


def _word(base: str, flags: frozenset[str]) -> str:
    """Which of a base state and its flags sinfo names."""
    is_busy = base in ("ALLOCATED", "COMPLETING") or "COMPLETING" in flags
    if "DRAIN" in flags:
        return "drng" if is_busy or base == "MIXED" else "drain"
    if "FAIL" in flags:
        return "failg" if is_busy else "fail"
    if "REBOOT_ISSUED" in flags and base in ("DOWN", "IDLE"):
        return "boot"
    if "COMPLETING" in flags and base not in ("ALLOCATED", "DOWN"):
        return "comp"
    if base == "IDLE":
        named = ("MAINTENANCE", "MAINT", "RESERVED", "PLANNED")
        base = next((one for one in named if one in flags), base)
    return _SHORT.get(base, base.lower())


def _mark(word: str, flags: frozenset[str]) -> str:
    left = flags - _MAINTENANCE if word == "maint" else flags
    found = next((mark for those, mark in _MARKS if not left.isdisjoint(those)), "")
    if not found and "PLANNED" in flags and word in ("alloc", "mix"):
        return _PLANNED
    if not found and "COMPLETING" in flags and word == "alloc":
        return _ENDING_TOO
    return found


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
