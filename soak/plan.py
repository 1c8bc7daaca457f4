"""Seconds -> what is broken when, and by how much load."""

from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """What is broken while the gateway goes on."""

    SLURMRESTD = "kill -9 of slurmrestd"
    SLURMCTLD = "kill -9 of slurmctld"
    PROVIDER = "kill -9 of the identity provider"
    DISK = "the disk of state and audit is full"


@dataclass(frozen=True)
class Plan:
    """`quiet_seconds` of load without faults begin, and are what memory is compared with.

    They last until there were `quiet_answers`, so that each kind of request was made on a slow machine too.
    """

    quiet_seconds: float
    quiet_answers: int
    faults: tuple[Fault, ...]
    down_seconds: float
    """How long each of them lasts."""
    recovery_seconds: float
    """How much load follows each of them."""
    kills: int
    """Of the gateway, at random moments."""
    longest_life_seconds: float
    """Of a gateway from its start to its kill."""
    settle_seconds: float
    """As in [idempotency]."""
    submitters: int
    """For each user; besides, each has a reader and somebody who cancels."""


SHORT = Plan(2.0, 300, (Fault.SLURMRESTD,), 1.0, 2.0, 2, 2.5, 3.0, 1)
"""For the tests: some twenty seconds."""
KILLS = 20
_START_SECONDS = 2.0


def full_plan(seconds: float, kills: int = KILLS) -> Plan:
    """Everything, in about so many seconds: a tenth quiet, half of the rest for the kills."""
    for_faults = seconds * 0.4
    each = for_faults / len(Fault)
    life = max(0.5, seconds * 0.45 / max(kills, 1) - _START_SECONDS)
    return Plan(seconds * 0.1, 1000, tuple(Fault), each * 0.4, each * 0.6, kills, 2 * life, 20.0, 3)
