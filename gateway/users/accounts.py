"""What every place that handles an account of the cluster holds about its name."""

import re
from typing import NamedTuple

_USER_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,31}")

NEVER_USERS = frozenset({"root", "nobody"})
"""Forbidden whatever the configuration says: `root` is the cluster, and `nobody` is whom Slurm
22.05 and 24.11 run unknown users' jobs as (measured)."""


def is_user_name(name: str) -> bool:
    """Whether the whole text is a portable ASCII account name of at most 32 characters."""
    return _USER_NAME.fullmatch(name) is not None


class Account(NamedTuple):
    """One passwd entry. `name` is the directory's own spelling."""

    name: str
    uid: int
    gid: int
    gecos: str = ""
    home: str = ""
    shell: str = ""


class Lookup(NamedTuple):
    """The directory's answer: the account or None for no such user, good until a monotonic time."""

    account: Account | None
    valid_until: float
